/** The two legs of a call: Twilio's stream with the caller, and Deepgram's with the agent. */
import type { JSX } from "preact";
import type { LiveCall } from "../../live";
import { Badge, Panel } from "../../ui";
import type { Tone } from "../../ui/parts";

type Told = readonly [tone: Tone, words: string, about: string];

const CALLER: Record<LiveCall["caller_state"], Told> = {
  ringing: ["normal", "not open yet", "Twilio has announced the call; its stream comes next."],
  connected: ["good", "open", "Twilio's stream carries the caller's voice."],
  away: ["normal", "closed on purpose", "The caller is away while keys are pressed or somebody is rung."],
  transferred: ["normal", "closed on purpose", "The caller has been transferred."],
  lost: ["fault", "lost", "It broke off. Twilio is asked for another one; the agent waits."],
};

const AGENT: Record<LiveCall["agent_state"], Told> = {
  dialling: ["normal", "connecting", "Deepgram has not applied the Settings yet."],
  connected: ["good", "open", "The agent hears the caller."],
  muted: ["operator", "open, muted", "The agent hears the caller, and the caller does not hear it."],
  lost: ["fault", "lost", "Another one is dialled, and the conversation goes on with it."],
};

const CLOSED: Told = ["normal", "closed", "The call is over."];

export function Sockets({ call, isLive }: { call: LiveCall; isLive: boolean }): JSX.Element {
  const caller = isLive ? CALLER[call.caller_state] : CLOSED;
  const agent = isLive ? AGENT[call.agent_state] : CLOSED;
  return (
    <Panel title="Sockets">
      <div class="stack tight">
        <Leg name="Caller, by Twilio" told={caller} />
        <Leg name="Agent, by Deepgram" told={agent} />
      </div>
    </Panel>
  );
}

function Leg({ name, told }: { name: string; told: Told | undefined }): JSX.Element {
  const [tone, words, about] = told ?? ["normal", "not known", ""];
  return (
    <div>
      <div class="row">
        <span>{name}</span>
        <Badge tone={tone}>{words}</Badge>
      </div>
      <p class="muted small">{about}</p>
    </div>
  );
}
