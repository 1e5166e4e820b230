/** Signing in: with the one-time link that the server prints, or with name and password. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Problem, problemOf } from "./api";
import icon from "./icon.svg";
import { navigate, place } from "./router";
import { session, signIn } from "./session";
import { Button } from "./ui/button";
import { TextField } from "./ui/field";
import { ErrorBox, Loading } from "./ui/parts";

/** Take the code out of the address, so that it is neither in the history nor copied with it. */
function takenCode(): string {
  if (window.location.pathname !== "/enter") return "";
  const code = window.location.hash.slice(1);
  if (code) history.replaceState(null, "", "/enter");
  return code;
}

/** Return the view that the link leads to: `/enter?to=/phone`. Only the console's own paths count. */
function wanted(): string {
  const to = place.value.query.get("to") ?? "";
  return /^\/[a-z]/.test(to) ? to : "/live";
}

export function SignIn({ expired }: { expired: boolean }): JSX.Element {
  const [code] = useState(takenCode);
  const [entering, setEntering] = useState(code !== "");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);

  function done(): void {
    if (place.value.path === "/enter") navigate(wanted(), { replace: true });
  }

  useEffect(() => {
    document.title = "Sign in · Offhook";
    if (code) {
      signIn({ code })
        .then(done, (error: unknown) => setProblem(problemOf(error)))
        .finally(() => setEntering(false));
    } else if (session.value.kind === "in") done();
  }, []);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await signIn({ name, password });
      done();
    } catch (error) {
      setProblem(problemOf(error));
      setPassword("");
    } finally {
      setBusy(false);
    }
  }

  if (entering) return <Loading what="Signing in" />;
  return (
    <main class="sign-in" id="main">
      <div class="panel stack">
        <div class="brand">
          <img src={icon} alt="" />
          <h1>Offhook</h1>
        </div>
        {expired && !problem && (
          <p role="alert">Your session has ended. Sign in to go on where you were.</p>
        )}
        {problem && <ErrorBox problem={problem} />}
        <form class="stack" onSubmit={(event) => void submit(event)}>
          <TextField
            label="Name"
            value={name}
            onValue={setName}
            input={{ autocomplete: "username", required: true, autofocus: true }}
          />
          <TextField
            label="Password"
            value={password}
            onValue={setPassword}
            input={{ type: "password", autocomplete: "current-password", required: true }}
          />
          <Button kind="primary" submit disabled={busy ? "Waiting for the answer." : false}>
            Sign in
          </Button>
        </form>
        <p class="muted small">
          No name yet? Open the one-time link that <code>offhook serve</code> printed, or print a new
          one: <code>offhook users link</code>.
        </p>
      </div>
    </main>
  );
}
