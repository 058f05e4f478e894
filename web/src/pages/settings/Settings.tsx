import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { token } from "../../api/client";
import { me as meQuery, tokens as tokensQuery, users as usersQuery } from "../../api/queries";
import type { Token, User } from "../../api/types";
import { Segments } from "../../parts/Choice";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Loaded } from "../../parts/Loaded";
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

const USER_COLUMNS: Column<User>[] = [
  { head: "Name", className: "medium", cell: (user) => user.name },
  { head: "Roles", cell: (user) => [...(user.admin ? ["admin"] : []), ...user.roles].join(", ") || "–" },
  { head: "E-mail", className: "text-2 not-narrow", cell: (user) => user.emails.join(", ") },
  { head: "Since", className: "text-2 not-narrow", cell: (user) => <Time at={user.created_at} /> },
];

function Users() {
  const query = useInfiniteQuery(usersQuery());
  return (
    <ListPanel
      title="Users"
      query={query}
      what="the users"
      empty={
        <p>
          No user yet: <code>towpath user add NAME --email ADDRESS</code>
        </p>
      }
      keyOf={(user) => user.name}
      columns={USER_COLUMNS}
      dense
    />
  );
}

const TOKEN_COLUMNS: Column<Token>[] = [
  { head: "Token", className: "mono", cell: (each) => each.id.slice(0, 12) },
  { head: "User", className: "medium", cell: (each) => each.user },
  { head: "Roles", cell: (each) => each.roles.join(", ") || "–" },
  { head: "Made", className: "text-2 not-narrow", cell: (each) => <Time at={each.created_at} /> },
  {
    head: "Dies",
    className: "text-2 not-narrow",
    cell: ({ expires_at }) => (expires_at === null ? "never" : new Date(expires_at).toLocaleString("en-GB")),
  },
];

function Tokens() {
  const query = useInfiniteQuery(tokensQuery());
  return (
    <ListPanel
      title="Tokens"
      query={query}
      what="the tokens"
      empty={
        <p>
          No token yet: <code>towpath token create --user NAME --role risk</code>
        </p>
      }
      keyOf={(each) => each.id}
      columns={TOKEN_COLUMNS}
      dense
    />
  );
}
