import { useState, type FormEvent } from "react";

import { get, token } from "../api/client";
import { Mark } from "../parts/Icon";
import { Panel } from "../parts/Panel";

/** Shown when the server wants to know who asks. The token lives as long as the tab. */
export function SignIn({ onSignedIn }: { onSignedIn: () => void }) {
  const [value, setValue] = useState("");
  const [error, setError] = useState<string | null>(null);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    token.set(value.trim());
    try {
      await get("/me");
      onSignedIn();
    } catch (failure) {
      token.clear();
      setError(failure instanceof Error ? failure.message : String(failure));
    }
  };
  return (
    <main className="sign-in">
      <h1 className="row">
        <span className="row" style={{ color: "var(--accent)", width: 20 }}>
          <Mark />
        </span>
        Towpath
      </h1>
      <Panel title="Sign in with a token">
        <form className="form pad" onSubmit={(event) => void submit(event)}>
          <label className="medium" htmlFor="token">
            Token
          </label>
          <input id="token" className="input mono" type="password" autoComplete="current-password" autoFocus required value={value} onChange={(event) => setValue(event.target.value)} />
          {error && (
            <p className="bad" role="alert">
              {error}
            </p>
          )}
          <p className="text-3">
            An admin makes one with <code>towpath token create --user NAME</code>. It is kept until this tab closes.
          </p>
          <button className="button primary tall" type="submit">
            Sign in
          </button>
        </form>
      </Panel>
    </main>
  );
}
