import { Dialog } from "../parts/Dialog";
import { KEYS, setKeysOn, useKeysOn } from "./useKeys";

export function KeyList({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <div className="body">
        <dl className="keys">
          {KEYS.map(([key, what]) => (
            <div key={key} className="row" style={{ display: "contents" }}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <KeysSwitch />
      </div>
    </Dialog>
  );
}

export function KeysSwitch() {
  const on = useKeysOn();
  return (
    <label className="row">
      <input type="checkbox" checked={on} onChange={(event) => setKeysOn(event.target.checked)} />
      Single keys work (Ctrl K always does)
    </label>
  );
}
