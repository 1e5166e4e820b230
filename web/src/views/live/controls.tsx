/** Everything that a person can do to a live call. Each button tells what happened. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { post } from "../../api";
import { listenTo } from "../../audio/listening";
import { takeOver } from "../../audio/operator";
import type { LiveCall } from "../../live";
import { cutOff, handBack, keepSpeaking, leave, listen, onAir, take } from "../../on-air";
import { may, user } from "../../session";
import { ActionButton, Button, Icon, Panel, useShortcut } from "../../ui";
import { toastProblem } from "../../ui/toast";
import { Composer } from "./composer";
import { HangUpDialog, TransferDialog } from "./dialogs";
import { InTheCall, ListeningNow } from "./taken";

/** The answer to an operation: what happened. */
export interface Done {
  done: true;
  what: string;
}

export const LOOKS_ONLY = "Your role is viewer: it sees calls, and changes nothing.";

export function Controls({ call }: { call: LiveCall }): JSX.Element {
  const [asked, setAsked] = useState<"transfer" | "hang-up" | null>(null);
  const reason = !may("operator") && LOOKS_ONLY;
  const current = onAir.value?.callSid === call.call_sid ? onAir.value : null;
  return (
    <Panel title="Act on this call">
      <div class="stack">
        {current?.kind === "taken" && <InTheCall call={call} takeOver={current.takeOver} />}
        {current?.kind === "listening" && <ListeningNow listening={current.listening} />}
        {current?.kind !== "taken" && cutOff.value === call.call_sid && <CutOff call={call} reason={reason} />}
        <div class="row call-buttons">
          <ListenButton call={call} reason={reason} />
          {current?.kind !== "taken" && <TakeOverButton call={call} reason={reason} />}
          <MuteButton call={call} reason={reason} />
          <TransferButton reason={reason} open={() => setAsked("transfer")} />
          <HangUpButton reason={reason} open={() => setAsked("hang-up")} />
        </div>
        <Composer call={call} reason={reason} />
      </div>
      {asked === "transfer" && <TransferDialog call={call} onClose={() => setAsked(null)} />}
      {asked === "hang-up" && <HangUpDialog call={call} onClose={() => setAsked(null)} />}
    </Panel>
  );
}

interface ControlProps {
  call: LiveCall;
  /** Why nothing can be done; false: it can. */
  reason: string | false;
}

function ListenButton({ call, reason }: ControlProps): JSX.Element {
  const current = onAir.value?.callSid === call.call_sid ? onAir.value : null;
  const listening = current?.kind === "listening";
  const blocked = reason || (current?.kind === "taken" && "You hear the call already.");
  const toggle = async (): Promise<void> => {
    if (listening) leave();
    else await listen(call.call_sid, listenTo);
  };
  useShortcut("l", "Listen, or stop", () => {
    if (!blocked) toggle().catch(toastProblem);
  });
  return (
    <ActionButton pressed={listening} disabled={blocked} act={toggle}>
      <Icon name="ear" /> {listening ? "Stop listening" : "Listen"}
    </ActionButton>
  );
}

function TakeOverButton({ call, reason }: ControlProps): JSX.Element {
  const other = call.taken_by !== null && call.taken_by !== user.value?.name;
  const blocked =
    reason ||
    (other && `${call.taken_by} speaks with the caller. Ask them to hand back.`) ||
    (call.caller_state !== "connected" && "The caller is not on the line now.");
  const start = (): Promise<void> => take(call.call_sid, takeOver);
  useShortcut("t", "Take over", () => {
    if (!blocked) start().catch(toastProblem);
  });
  return (
    <ActionButton disabled={blocked} act={start}>
      <Icon name="mic" /> Take over
    </ActionButton>
  );
}

/** This page spoke with the caller until it was reloaded, or its connection was lost. */
function CutOff({ call, reason }: ControlProps): JSX.Element {
  const isWaiting = call.taken_by !== null && call.taken_by === user.value?.name;
  const giveUp = async (): Promise<string | void> => {
    keepSpeaking(null);
    if (isWaiting && !reason) return handBack(call.call_sid, "");
  };
  return (
    <div class="call-air stack tight" role="alert">
      <p>
        <strong>You were cut off while you spoke with the caller.</strong>{" "}
        {isWaiting
          ? "They hear nothing; in 3 s the agent has them again."
          : call.taken_by === null
            ? "They are with the agent again."
            : `${call.taken_by} speaks with them now.`}
      </p>
      <div class="row">
        <ActionButton
          small
          kind="primary"
          disabled={reason || (call.taken_by !== null && !isWaiting && "Somebody else has the call.")}
          act={() => take(call.call_sid, takeOver)}
        >
          Go on speaking
        </ActionButton>
        <ActionButton small act={giveUp}>Leave it to the agent</ActionButton>
      </div>
    </div>
  );
}

function MuteButton({ call, reason }: ControlProps): JSX.Element {
  const muted = call.agent_state === "muted";
  return (
    <ActionButton
      pressed={muted}
      disabled={reason || (call.taken_by !== null && "The agent is muted while a person speaks.")}
      act={async () => (await post<Done>(`/calls/${call.call_sid}/mute`, { on: !muted })).what}
    >
      {muted ? "Unmute the agent" : "Mute the agent"}
    </ActionButton>
  );
}

function TransferButton({ reason, open }: { reason: string | false; open: () => void }): JSX.Element {
  useShortcut("x", "Transfer the caller", () => {
    if (!reason) open();
  });
  return (
    <Button disabled={reason} onClick={open}>
      <Icon name="phone" /> Transfer…
    </Button>
  );
}

function HangUpButton({ reason, open }: { reason: string | false; open: () => void }): JSX.Element {
  useShortcut("h", "Hang up", () => {
    if (!reason) open();
  });
  return (
    <Button kind="danger" disabled={reason} onClick={open}>
      <Icon name="hangup" /> Hang up…
    </Button>
  );
}
