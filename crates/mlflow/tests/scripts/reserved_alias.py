"""The alias of an environment follows its releases: version 2 is live in production."""
from mlflow import MlflowClient
from refused import refused

client = MlflowClient()
assert int(client.get_model_version_by_alias("digits", "production").version) == 2
for attempt in [
    lambda: client.set_registered_model_alias("digits", "production", 3),
    lambda: client.set_registered_model_alias("digits", "Production", 3),
    lambda: client.delete_registered_model_alias("digits", "production"),
    lambda: client.transition_model_version_stage("digits", 3, "Production"),
    lambda: client.delete_model_version("digits", 2),
    lambda: client.delete_registered_model("digits"),
    lambda: client.rename_registered_model("digits", "mine"),
]:
    with refused("towpath release promote digits") as error:
        attempt()
    assert error.error_code == "PERMISSION_DENIED"
with refused("towpath release promote digits --version 3 --to production"):
    client.set_registered_model_alias("digits", "production", 3)
assert int(client.get_model_version_by_alias("digits", "production").version) == 2
# Other aliases and other versions are the client's own.
client.set_registered_model_alias("digits", "challenger", 3)
client.delete_model_version("digits", 1)
