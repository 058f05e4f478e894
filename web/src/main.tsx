import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { Router } from "wouter";

import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import { ApiError } from "./api/client";
import { followMlflowLink } from "./mlflowLinks";
import { Pages } from "./routes";
import { Shell } from "./shell/Shell";
import { SignIn } from "./shell/SignIn";

/** What the server refuses it refuses again; only a server that does not answer is asked twice. */
const retry = (failures: number, error: Error) => failures < 2 && !(error instanceof ApiError && error.status > 0 && error.status < 500);

function Page() {
  const [unknown, setUnknown] = useState(false);
  const [client] = useState(
    () =>
      new QueryClient({
        queryCache: new QueryCache({
          onError: (error) => {
            if (error instanceof ApiError && error.status === 401) setUnknown(true);
          },
        }),
        // Events say what is stale, so nothing is asked again by itself.
        defaultOptions: { queries: { retry, staleTime: 30_000, refetchOnWindowFocus: false } },
      }),
  );
  if (unknown) {
    const onSignedIn = () => {
      client.clear();
      setUnknown(false);
    };
    return <SignIn onSignedIn={onSignedIn} />;
  }
  return (
    <QueryClientProvider client={client}>
      <Router base={import.meta.env.BASE_URL.replace(/\/$/, "")}>
        <Shell>
          <Pages />
        </Shell>
      </Router>
    </QueryClientProvider>
  );
}

followMlflowLink();
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
