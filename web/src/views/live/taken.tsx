/** What is shown while this page hears a call, or speaks into it. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Listening } from "../../audio/listening";
import type { TakeOver } from "../../audio/operator";
import type { LiveCall } from "../../live";
import { handBack } from "../../on-air";
import { ActionButton, Button, Icon, Level, TextField, useShortcut } from "../../ui";

export function ListeningNow({ listening }: { listening: Listening }): JSX.Element {
  const held = listening.sound.value === "held";
  return (
    <div class="call-air stack tight">
      <p role="status">
        {listening.state.value === "connecting"
          ? "Connecting…"
          : held
            ? "The browser holds the sound back until you press a button."
            : "You hear both sides. They do not hear you."}
      </p>
      {held && <Button small onClick={() => listening.resume()}>Turn the sound on</Button>}
      <Level name="Caller" tone="caller" level={listening.voices.caller.level} />
      <Level name="Agent" tone="agent" level={listening.voices.agent.level} />
    </div>
  );
}

export function InTheCall({ call, takeOver }: { call: LiveCall; takeOver: TakeOver }): JSX.Element {
  const [note, setNote] = useState("");
  const [isAsked, setAsked] = useState(false);
  const microphone = takeOver.microphone.value;
  const muted = microphone === "muted";
  const mute = (): void => takeOver.mute(!muted);
  const asksFirst = note.trim() === "" && !isAsked;
  const back = async (): Promise<string | void> => {
    if (asksFirst) setAsked(true);
    else return handBack(call.call_sid, note.trim());
  };
  useShortcut("m", "Mute your microphone, or not", mute);
  const state = takeOver.state.value;
  const words =
    state === "connecting"
      ? "Connecting… The agent still speaks."
      : state === "lost"
        ? "The connection broke off. Connecting again…"
        : "You speak with the caller. The agent is muted.";
  return (
    <div class="call-air stack">
      <p role="status"><strong>{words}</strong></p>
      {microphone === "gone" && (
        <div class="row" role="alert">
          <Icon name="warn" />
          <p>The microphone is gone: the caller hears silence. Connect one, or hand back.</p>
          <ActionButton small act={() => takeOver.useMicrophone()}>Use the microphone</ActionButton>
        </div>
      )}
      {takeOver.sound.value === "held" && (
        <div class="row" role="alert">
          <Icon name="warn" />
          <p>The browser holds the sound back until you press a button: you do not hear the caller.</p>
          <Button small onClick={() => takeOver.resume()}>Turn the sound on</Button>
        </div>
      )}
      <div class="stack tight">
        <Level name="You" tone="operator" level={takeOver.level} />
        <Level name="Caller" tone="caller" level={takeOver.voices.caller.level} />
      </div>
      <TextField
        label="What the agent should know"
        hint="The agent has heard the caller, and not you. It is told this when you hand back."
        value={note}
        onValue={(value) => {
          setNote(value);
          setAsked(false);
        }}
        input={{ maxLength: 2000, autocomplete: "off" }}
      />
      {isAsked && (
        <p role="status">
          Hand back without a word? The agent does not know what you have told the caller.
        </p>
      )}
      <div class="row">
        <ActionButton kind="primary" act={back}>
          {isAsked ? "Hand back without a word" : "Hand back to the agent"}
        </ActionButton>
        <Button pressed={muted} disabled={microphone === "gone" && "There is no microphone."} onClick={mute}>
          {muted ? "Unmute yourself" : "Mute yourself"}
        </Button>
      </div>
    </div>
  );
}
