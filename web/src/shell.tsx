/** What is around every view: navigation, the state of the live stream, messages, shortcuts. */
import type { ComponentType, JSX } from "preact";
import { lazy, Suspense } from "preact/compat";
import { Component } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Problem, problemOf } from "./api";
import icon from "./icon.svg";
import { calls, connection, reconnect, startFollowing, stopFollowing } from "./live";
import { leave, onAir } from "./on-air";
import { startResting } from "./resting";
import { navigate, place, startRouter } from "./router";
import { may, resume, session, signOut, user } from "./session";
import { SignIn } from "./sign-in";
import { chooseTheme, theme } from "./theme";
import { Button } from "./ui/button";
import { Icon, type IconName } from "./ui/icon";
import { Empty, ErrorBox, Loading } from "./ui/parts";
import { Shortcuts, showShortcuts, useShortcut } from "./ui/shortcuts";
import { now } from "./ui/time";
import { Toasts, toast, toastProblem } from "./ui/toast";
import { PhoneBar } from "./views/phone/bar";

/** Props of every view: the part of the path behind its name, such as a CallSid, or "". */
export interface ViewProps {
  param: string;
}

type View = ComponentType<ViewProps>;

/** The views by path. Each is a file of its own, loaded when it is first shown. */
const VIEWS: readonly (readonly [pattern: RegExp, title: string, view: View])[] = [
  [/^\/(?:live)?$/, "Live", lazy(() => import("./views/live"))],
  [/^\/live\/([^/]+)$/, "Live call", lazy(() => import("./views/live/call"))],
  [/^\/phone$/, "Phone", lazy(() => import("./views/phone"))],
  [/^\/calls$/, "Calls", lazy(() => import("./views/calls"))],
  [/^\/calls\/([^/]+)$/, "Call", lazy(() => import("./views/call"))],
  [/^\/quality$/, "Quality", lazy(() => import("./views/quality"))],
  [/^\/agents(?:\/([^/]+))?$/, "Agents", lazy(() => import("./views/agents"))],
  [/^\/users$/, "Users", lazy(() => import("./views/users"))],
  [/^\/more$/, "More", lazy(async () => ({ default: More }))],
];

const LINKS: readonly (readonly [path: string, title: string, icon: IconName, key: string])[] = [
  ["/live", "Live", "live", "l"],
  ["/phone", "Phone", "phone", "p"],
  ["/calls", "Calls", "calls", "c"],
  ["/quality", "Quality", "quality", "q"],
  ["/agents", "Agents", "agents", "a"],
];

export function Shell(): JSX.Element {
  useEffect(startRouter, []);
  const state = session.value;
  const signedIn = state.kind === "in";
  useEffect(() => {
    if (!signedIn) return undefined;
    startFollowing();
    const endResting = startResting();
    return () => {
      endResting();
      stopFollowing();
    };
  }, [signedIn]);
  let shown: JSX.Element;
  if (state.kind === "asking") shown = <Loading what="Signing in" />;
  else if (state.kind === "failed") {
    shown = (
      <main class="sign-in">
        <ErrorBox problem={state.problem} again={() => void resume()} />
      </main>
    );
  } else if (state.kind === "out" || place.value.path === "/enter") {
    shown = <SignIn expired={state.kind === "out" && state.expired} />;
  } else shown = <Frame />;
  return (
    <>
      {shown}
      <Toasts />
      <Shortcuts />
    </>
  );
}

function Frame(): JSX.Element {
  const path = place.value.path;
  return (
    <div class="shell">
      <a class="skip" href="#main">Skip to the content</a>
      <main class="main" id="main" tabIndex={-1}>
        <LostBanner />
        <OnAirBanner path={path} />
        <PhoneBar path={path} />
        <Shown path={path} />
      </main>
      <Navigation path={path} />
    </div>
  );
}

function Shown({ path }: { path: string }): JSX.Element {
  const main = useRef<HTMLDivElement>(null);
  const first = useRef(true);
  const found = VIEWS.map(([pattern, title, view]) => ({ match: pattern.exec(path), title, view })).find(
    (each) => each.match,
  );
  const title = found?.title ?? "Not found";
  useEffect(() => {
    document.title = `${title} · Offhook`;
    // A new view begins at its top, and screen readers are told of it; the first is where it is.
    if (first.current) first.current = false;
    else {
      window.scrollTo(0, 0);
      main.current?.closest("main")?.focus({ preventScroll: true });
    }
  }, [path]);
  const ViewFound = found?.view;
  return (
    <div class="view" ref={main}>
      <Boundary key={path}>
        <Suspense fallback={<Loading />}>
          {ViewFound ? (
            <ViewFound param={decoded(found?.match?.[1] ?? "")} />
          ) : (
            <Empty title="There is no such page">
              <p>{path} is not one of the console's.</p>
              <a href="/live">See the live calls</a>
            </Empty>
          )}
        </Suspense>
      </Boundary>
    </div>
  );
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // half an escape: the server will say that there is no such thing
  }
}

/** Shows the fault of a view in its place, so that navigation stays. */
class Boundary extends Component<{ children: JSX.Element }, { problem: Problem | null }> {
  override state: { problem: Problem | null } = { problem: null };

  static override getDerivedStateFromError(error: unknown): { problem: Problem } {
    // After an update of the server, the files of the page that is open are not there any more.
    const isOld = error instanceof TypeError && /import|module|fetch/i.test(error.message);
    return {
      problem: isOld
        ? new Problem("This part of the page could not be loaded.", "The server may have been updated, or is not reached: load the page again.", "", 0)
        : problemOf(error),
    };
  }

  override render(): JSX.Element {
    const { problem } = this.state;
    if (!problem) return this.props.children;
    return <ErrorBox problem={problem} again={() => window.location.reload()} againLabel="Load again" />;
  }
}

function LostBanner(): JSX.Element | null {
  const state = connection.value;
  if (state.kind !== "lost" || now.value - state.since < 1500) return null;
  const wait = Math.max(0, Math.ceil((state.next - now.value) / 1000));
  return (
    <div class="banner" role="status">
      <Icon name="warn" />
      <span>
        <strong>What is shown may be old.</strong> {state.problem.what}{" "}
        <span class="num" aria-hidden="true">{wait > 0 ? `Next attempt in ${wait} s.` : "Trying…"}</span>
      </span>
      <Button small onClick={reconnect}>Try now</Button>
    </div>
  );
}

/** Says that this page is still in a call which another view hides. */
function OnAirBanner({ path }: { path: string }): JSX.Element | null {
  const current = onAir.value;
  if (!current) return null;
  const href = `/live/${encodeURIComponent(current.callSid)}`;
  if (path === href) return null;
  const taken = current.kind === "taken";
  return (
    <div class="banner" role="status">
      <Icon name={taken ? "mic" : "ear"} />
      <span>
        <strong>{taken ? "You speak with a caller." : "You are listening to a call."}</strong>{" "}
        <a href={href}>Back to the call</a>
      </span>
      <Button small onClick={leave}>{taken ? "Hand back" : "Stop listening"}</Button>
    </div>
  );
}

function Navigation({ path }: { path: string }): JSX.Element {
  const state = connection.value;
  for (const [to, title, , key] of LINKS) useShortcut(`g ${key}`, title, () => navigate(to));
  const live = calls.value.size;
  return (
    <nav class="nav" aria-label="Console">
      <a class="brand" href="/live">
        <img src={icon} alt="" /> Offhook
      </a>
      <ul>
        {LINKS.map(([to, title, name]) => (
          <Link key={to} path={path} to={to} title={title} icon={name} count={to === "/live" ? live : 0} />
        ))}
        {may("admin") && (
          <Link path={path} to="/users" title="Users" icon="users" count={0} phone={false} />
        )}
        <Link path={path} to="/more" title="More" icon="more" count={0} phone />
      </ul>
      <div class="foot">
        <span class="row">
          <Dot state={state.kind} />
        </span>
        <Account />
      </div>
    </nav>
  );
}

function Link(props: {
  path: string;
  to: string;
  title: string;
  icon: IconName;
  count: number;
  phone?: boolean;
}): JSX.Element {
  const current = props.path === props.to || props.path.startsWith(`${props.to}/`) || (props.to === "/live" && props.path === "/");
  const where = props.phone === undefined ? "" : props.phone ? "only-phone" : "only-wide";
  return (
    <li class={where}>
      <a href={props.to} aria-current={current ? "page" : undefined}>
        <Icon name={props.icon} />
        <span>{props.title}</span>
        {props.count > 0 && (
          <span class="badge">
            {props.count}
            <span class="hidden-text"> calls</span>
          </span>
        )}
      </a>
    </li>
  );
}

function Dot({ state }: { state: "connecting" | "open" | "lost" }): JSX.Element {
  const words = { connecting: "Connecting", open: "Connected", lost: "Not connected" }[state];
  return (
    <>
      <span class={`dot ${state}`} aria-hidden="true" />
      {words}
    </>
  );
}

function Account(): JSX.Element {
  const who = user.value;
  async function leave(): Promise<void> {
    try {
      await signOut();
      toast("You are signed out.");
    } catch (error) {
      toastProblem(error);
    }
  }
  return (
    <>
      <span>
        {who?.name} <span class="muted">({who?.role})</span>
      </span>
      <span class="row">
        <Button kind="quiet" small onClick={() => void leave()}>Sign out</Button>
        <Button kind="quiet" small onClick={showShortcuts} aria-label="Keyboard shortcuts">
          <kbd>?</kbd>
        </Button>
      </span>
      <label class="row muted">
        Theme{" "}
        <select
          class="theme"
          value={theme.value}
          onChange={(event) => chooseTheme(event.currentTarget.value as typeof theme.value)}
        >
          <option value="system">as the system</option>
          <option value="light">light</option>
          <option value="dark">dark</option>
        </select>
      </label>
      <span class="muted">Offhook {who?.version}</span>
    </>
  );
}

/** What the navigation has no room for on a phone. */
function More(): JSX.Element {
  return (
    <div class="stack">
      <h1>More</h1>
      {may("admin") && <a class="button" href="/users">Users</a>}
      <a class="button" href="/docs">The API's documentation</a>
      <div class="stack tight">
        <span class="row"><Dot state={connection.value.kind} /></span>
        <Account />
      </div>
    </div>
  );
}
