import { lazy, useState, type ComponentType } from "react";

/**
 * A component whose code comes when it is first shown, or before, when `fetch` is called. Code that is
 * there is shown at once: React's own lazy components wait for 300 ms even then.
 */
export function ahead<P extends object>(load: () => Promise<ComponentType<P>>): { View: ComponentType<P>; fetch: () => Promise<unknown> } {
  let code: ComponentType<P> | undefined;
  const fetch = async () => {
    code = await load();
    return { default: code };
  };
  const Later = lazy(fetch) as unknown as ComponentType<P>;
  function View(props: P) {
    // What was shown first stays: another component would lose its state.
    const [Shown] = useState<ComponentType<P>>(() => code ?? Later);
    return <Shown {...props} />;
  }
  return { View, fetch };
}
