import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { token } from "../../api/client";
import { me as meQuery, tokens as tokensQuery, users as usersQuery } from "../../api/queries";
import { Segments } from "../../parts/Choice";
import { Loaded, LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { KeysSwitch } from "../../shell/KeyList";
import { usePage } from "../../shell/page";
import { setTheme, useTheme } from "../../theme";

export function Settings() {
  usePage([{ text: "Settings" }]);
  const me = useQuery(meQuery());
  const theme = useTheme();
  return (
    <>
      <h1>Settings</h1>
      <div className="columns two">
        <Panel title="You">
          <Loaded query={me} what="who you are">
            {(data) => (
              <dl className="pairs pad">
                <dt>User</dt>
                <dd>
                  {data.user}
                  {data.open && <span className="text-3">this server has no accounts: everybody on this machine is local</span>}
                </dd>
                <dt>Roles</dt>
                <dd>{data.roles.join(", ") || "none"}</dd>
                <dt>Admin</dt>
                <dd>{data.admin ? "yes" : "no"}</dd>
                <dt>Server</dt>
                <dd>Towpath {data.server_version}</dd>
              </dl>
            )}
          </Loaded>
          {token.get() !== null && (
            <div className="section">
              <button
                type="button"
                className="button"
                onClick={() => {
                  token.clear();
                  window.location.reload();
                }}
              >
                Sign out
              </button>
            </div>
          )}
        </Panel>
        <Panel title="This browser">
          <div className="pad form">
            <div className="row">
              Theme
              <Segments
                label="Theme"
                options={[
                  { value: "system", label: "System" },
                  { value: "light", label: "Light" },
                  { value: "dark", label: "Dark" },
                ]}
                value={theme}
                onChange={setTheme}
              />
            </div>
            <KeysSwitch />
          </div>
        </Panel>
      </div>
      <Users />
      <Tokens />
    </>
  );
}

function Users() {
  const query = useInfiniteQuery(usersQuery());
  return (
    <Panel title="Users">
      <LoadedList
        query={query}
        what="the users"
        empty={
          <p>
            No user yet: <code>towpath user add NAME --email ADDRESS</code>
          </p>
        }
      >
        {(items) => (
          <div className="scroll">
            <table className="dense">
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Roles</th>
                  <th className="not-narrow">E-mail</th>
                  <th className="not-narrow">Since</th>
                </tr>
              </thead>
              <tbody>
                {items.map((user) => (
                  <tr key={user.name}>
                    <td className="medium">{user.name}</td>
                    <td>{[...(user.admin ? ["admin"] : []), ...user.roles].join(", ") || "–"}</td>
                    <td className="text-2 not-narrow">{user.emails.join(", ")}</td>
                    <td className="text-2 not-narrow">
                      <Time at={user.created_at} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </LoadedList>
    </Panel>
  );
}

function Tokens() {
  const query = useInfiniteQuery(tokensQuery());
  return (
    <Panel title="Tokens">
      <LoadedList
        query={query}
        what="the tokens"
        empty={
          <p>
            No token yet: <code>towpath token create --user NAME --role risk</code>
          </p>
        }
      >
        {(items) => (
          <div className="scroll">
            <table className="dense">
              <thead>
                <tr>
                  <th>Token</th>
                  <th>User</th>
                  <th>Roles</th>
                  <th className="not-narrow">Made</th>
                  <th className="not-narrow">Dies</th>
                </tr>
              </thead>
              <tbody>
                {items.map((each) => (
                  <tr key={each.id}>
                    <td className="mono">{each.id.slice(0, 12)}</td>
                    <td className="medium">{each.user}</td>
                    <td>{each.roles.join(", ") || "–"}</td>
                    <td className="text-2 not-narrow">
                      <Time at={each.created_at} />
                    </td>
                    <td className="text-2 not-narrow">{each.expires_at === null ? "never" : new Date(each.expires_at).toLocaleString("en-GB")}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </LoadedList>
    </Panel>
  );
}
