"""Webhooks: a receiver that checks what it is told, and that says no at first."""
import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading

from mlflow import MlflowClient

received, refuse = queue.Queue(), threading.Event()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 500 if refuse.is_set() else 200
        refuse.clear()
        received.put((status, self.headers, body))
        self.send_response(status)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"seen")

    def log_message(self, *_):
        pass


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{receiver.server_port}/hook"
client = MlflowClient()
events = ["registered_model.created", "model_version.created", "model_version_tag.set", "model_version_tag.deleted",
          "model_version_alias.created", "model_version_alias.deleted", "prompt.created", "prompt_version.created"]
webhook = client.create_webhook("all", url, events, secret="hush")
unsigned = client.create_webhook("unsigned", url, ["prompt_tag.set"])
client.create_webhook("silent", url, events, status="DISABLED")


def told():
    status, headers, body = received.get(timeout=30)
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"hush", signed, hashlib.sha256).digest()).decode()
    assert headers.get("X-MLflow-Signature") == f"v1,{expected}", headers
    message = json.loads(body)
    return status, f"{message['entity']}.{message['action']}", message["data"], headers["X-MLflow-Delivery-Id"]


# What is tested is sent at once.
tested = client.test_webhook(webhook.webhook_id, "model_version.created")
assert (tested.success, tested.response_status, tested.response_body) == (True, 200, "seen"), tested
assert told()[1:3] == ("model_version.created", {
    "name": "example_model", "version": "1", "source": "models:/123", "run_id": "abcd1234abcd5678",
    "tags": {"example_key": "example_value"}, "description": "An example model version"})

# What is refused is sent again, with the same id.
refuse.set()
client.create_registered_model("net", {"a": "b"}, "words")
first, second = told(), told()
assert (first[0], second[0]) == (500, 200) and first[1:] == second[1:], (first, second)
assert first[1:3] == ("registered_model.created", {"name": "net", "tags": {"a": "b"}, "description": "words"})

client.create_model_version("net", "s3://bucket/x", tags={"k": "v"})
assert told()[1:3] == ("model_version.created", {"name": "net", "version": "1", "source": "s3://bucket/x", "run_id": None,
                                               "tags": {"k": "v"}, "description": None})
client.set_model_version_tag("net", "1", "t", "u")
assert told()[1:3] == ("model_version_tag.set", {"name": "net", "version": "1", "key": "t", "value": "u"})
client.delete_model_version_tag("net", "1", "t")
assert told()[1:3] == ("model_version_tag.deleted", {"name": "net", "version": "1", "key": "t"})
client.set_registered_model_alias("net", "best", "1")
assert told()[1:3] == ("model_version_alias.created", {"name": "net", "alias": "best", "version": "1"})
client.delete_registered_model_alias("net", "best")
assert told()[1:3] == ("model_version_alias.deleted", {"name": "net", "alias": "best"})
client.register_prompt("ask", "Say {{what}}", commit_message="first")
seen = sorted([told()[1:3], told()[1:3]])
assert [name for name, _ in seen] == ["prompt.created", "prompt_version.created"], seen
assert (seen[1][1]["template"], seen[1][1]["version"]) == ("Say {{what}}", "1"), seen

# Without a secret there is no signature. (The client itself sets tags of a new prompt.)
client.set_prompt_tag("ask", "k", "v")
while True:
    status, headers, body = received.get(timeout=30)
    assert "X-MLflow-Signature" not in headers, headers
    if json.loads(body)["data"] == {"name": "ask", "key": "k", "value": "v"}:
        break
receiver.shutdown()
receiver.server_close()
gone = client.test_webhook(webhook.webhook_id)
assert not gone.success and "Failed to test webhook" in gone.error_message, gone
