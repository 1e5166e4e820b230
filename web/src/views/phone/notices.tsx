/** What is wrong with a call from this page, and how to go on. */
import type { ComponentChildren, JSX } from "preact";
import type { Phone } from "../../audio/phone";
import { Problem } from "../../api";
import { ActionButton, Button, ErrorBox, Icon } from "../../ui";

/** Milliseconds of a voice that may be left out before it is told. */
const LOST_MS = 500;

export function Notices({ phone }: { phone: Phone }): JSX.Element | null {
  if (phone.state.value === "over") return null;
  return (
    <>
      {phone.sound.value === "held" && (
        <Notice action={<Button small onClick={() => phone.resume()}>Turn the sound on</Button>}>
          <strong>The browser holds the sound back</strong> until you press a button of this page, or
          has paused it for something else.
        </Notice>
      )}
      {phone.microphone.value === "gone" && (
        <Notice
          action={<ActionButton small act={() => phone.useMicrophone()}>Use the microphone</ActionButton>}
        >
          <strong>The microphone is gone:</strong> it was unplugged, or another program has taken it.
          The agent hears silence. Connect one.
        </Notice>
      )}
      {phone.microphone.value === "none" && (
        <Notice
          action={<ActionButton small act={() => phone.useMicrophone()}>Use the microphone</ActionButton>}
        >
          <strong>You call without a microphone:</strong> you hear the agent, and keys work.
        </Notice>
      )}
      {phone.lostMs.value >= LOST_MS && (
        <Notice>
          <strong>Your connection is too slow:</strong>{" "}
          {(phone.lostMs.value / 1000).toFixed(1)} s of your voice were left out so far.
        </Notice>
      )}
    </>
  );
}

function Notice(props: { children: ComponentChildren; action?: JSX.Element }): JSX.Element {
  return (
    <div class="notice row" role="status">
      <Icon name="warn" />
      <p>{props.children}</p>
      {props.action}
    </div>
  );
}

/** Why a call ended that nobody here has hung up, where that is not the agent's doing. */
export function Lost({ phone }: { phone: Phone }): JSX.Element | null {
  const { end, reason } = phone;
  const because = reason.value && ` The server says: ${reason.value}.`;
  if (end.value === "refused") {
    return (
      <ErrorBox
        problem={
          new Problem(
            "The server did not open the call's stream: it was restarted, or a proxy before it passes" +
              " no WebSockets.",
            "Call again.",
            "",
            0,
          )
        }
      />
    );
  }
  if (end.value === "lost") {
    return (
      <ErrorBox
        problem={
          new Problem(
            `The connection to the server was lost, and the call with it.${because}`,
            "See if the server runs and your network is there, and call again.",
            "",
            0,
          )
        }
      />
    );
  }
  return null;
}
