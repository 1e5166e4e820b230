/** The events of a call. Made from src/offhook/events/types.py by `make pages`; do not edit. */

/** A call began: the first event of all. */
export interface CallBegan {
  type: "CallBegan";
  account_sid: string;
  agent: string;
  tier: string;
  direction: "inbound" | "outbound";
  by: "webhook" | "bin" | "api" | "browser";
  from_: string;
  to: string;
  variables: string;
}

/** The agent's lookup was asked about the call before it was answered: `after_ms` it went on. */
export interface LookedUp {
  type: "LookedUp";
  outcome: "answered" | "failed" | "too_late";
  why: string;
  after_ms: number;
}

/** Twilio's stream is verified: the caller's leg is up. */
export interface CallStarted {
  type: "CallStarted";
}

/** Another process goes on with the call, because the one before has died or gave it up. */
export interface CallTakenOver {
  type: "CallTakenOver";
  after_ms: number;
  epoch: number;
  node: string;
}

/** The process has the call no more, and the call goes on: no CallEnded comes from here. */
export interface CallReleased {
  type: "CallReleased";
  why: "handed_over" | "fenced";
  epoch: number;
}

/** Deepgram applied the Settings: the agent's leg is up. */
export interface AgentConnected {
  type: "AgentConnected";
  request_id: string;
  after_ms: number;
}

/** The agent's socket is closed; it was open for `connected_ms`, for which Deepgram charges. */
export interface AgentDisconnected {
  type: "AgentDisconnected";
  connected_ms: number;
}

/** A spare leg took over from the agent's, before Deepgram ended that one's session. */
export interface AgentRolledOver {
  type: "AgentRolledOver";
  after_ms: number;
  repeated_ms: number;
}

/** A spare leg could not take over, because `why`: the call goes on as it was. */
export interface SpareAgentFailed {
  type: "SpareAgentFailed";
  why: "refused" | "unreachable" | "error" | "closed" | "too_late";
  code: string;
}

/** The agent's leg was lost, or could not be opened, because `why`; another one is dialled. */
export interface AgentLost {
  type: "AgentLost";
  why: "closed" | "error" | "refused" | "unreachable" | "too_late" | "stuck" | "silent" | "garbage" | "no_spare";
  code: string;
}

/** The conversation goes on with another leg, after the agent's was lost in mid-call. */
export interface AgentResumed {
  type: "AgentResumed";
  attempts: number;
  after_ms: number;
  held_ms: number;
}

/** The caller began to speak, as Deepgram takes it. CallerSaid follows, if words were heard. */
export interface CallerSpeechBegan {
  type: "CallerSpeechBegan";
}

/** A confirmed turn of the caller, which ended by now. */
export interface CallerSaid {
  type: "CallerSaid";
  text: string;
  start_ms: number | null;
  behavior: string;
}

/** The agent is about to say `text`, or is saying it: a piece of one utterance. */
export interface AgentAnnounced {
  type: "AgentAnnounced";
  utterance: number;
  text: string;
  behavior: string;
}

/** The caller has heard `heard_ms` of the utterance so far, by Twilio's marks. */
export interface AgentHeard {
  type: "AgentHeard";
  utterance: number;
  heard_ms: number;
  start_ms: number;
}

/** An utterance of the agent is over, or was cut. */
export interface AgentSaid {
  type: "AgentSaid";
  text: string;
  intended: string;
  heard_ms: number;
  interrupted: boolean;
  start_ms: number | null;
}

/** Personal data was taken out of what was said on this leg: its audio becomes silent there too. */
export interface UtteranceRedacted {
  type: "UtteranceRedacted";
  leg: "caller" | "agent";
  start_ms: number;
  end_ms: number;
}

/** The agent answered a turn. */
export interface Answered {
  type: "Answered";
  first_byte_ms: number;
  first_played_ms: number;
}

/** A barge-in: the caller spoke over the agent. `heard_ms` of that utterance had been heard. */
export interface Interrupted {
  type: "Interrupted";
  heard_ms: number;
  cause: "speech" | "long_speech" | "beyond_echo" | "turn";
}

/** Deepgram took a sound for the caller's speech, and the agent was not cut. */
export interface InterruptionSuppressed {
  type: "InterruptionSuppressed";
  cause: "echo" | "short" | "greeting";
  sound_ms: number | null;
  lag_ms: number | null;
}

/** The caller pressed a key. The digit may be part of a secret: treat it as text. */
export interface KeyPressed {
  type: "KeyPressed";
  digit: string;
}

/** The last keys make an entry, which the agent gets. As private as KeyPressed. */
export interface KeysEntered {
  type: "KeysEntered";
  digits: string;
}

/** A function asked for secret digits: the event has only their number. */
export interface SecretEntered {
  type: "SecretEntered";
  count: number;
  complete: boolean;
}

/** The agent called a function of ours. `arguments` is JSON, as the model wrote it: private. */
export interface FunctionCalled {
  type: "FunctionCalled";
  id: string;
  name: string;
  arguments: string;
}

/** A function was answered. `content` is what the agent was told, and private. */
export interface FunctionAnswered {
  type: "FunctionAnswered";
  id: string;
  name: string;
  outcome: "answered" | "failed" | "unknown" | "too_late" | "outcome_unknown";
  content: string;
  after_ms: number;
}

/** A function was called off before it was answered, and nothing was answered: `why`. */
export interface FunctionDropped {
  type: "FunctionDropped";
  id: string;
  name: string;
  why: "cancelled" | "call_over";
}

/** A function that was given up or called off has run to its end, `after_ms` it was called. */
export interface FunctionFinishedLate {
  type: "FunctionFinishedLate";
  id: string;
  name: string;
  outcome: "answered" | "failed" | "unknown" | "too_late" | "outcome_unknown";
  content: string;
  after_ms: number;
}

/** The agent was told something that the caller did not say, and answers to it. */
export interface AgentTold {
  type: "AgentTold";
  text: string;
}

/** The stream was left on purpose: to transfer the caller, or to press keys. */
export interface CallerLeft {
  type: "CallerLeft";
  handoff: "transfer" | "digits";
  destination: string;
}

/** Twilio was told to ring `to`, or asked to; calls that we place have CallBegan instead. */
export interface Dialled {
  type: "Dialled";
  kind: "transfer" | "warm-transfer" | "fallback" | "busy";
  destination: string;
  to: string;
}

/** A transfer failed because of `why`; the caller is with the agent. */
export interface TransferFailed {
  type: "TransferFailed";
  destination: string;
  why: "reached" | "busy" | "no-answer" | "failed" | "canceled" | "declined" | "hung-up";
}

/** A new stream came after the caller had left the one before. */
export interface CallerBack {
  type: "CallerBack";
}

/** The caller's stream broke off, because `why`, and Twilio may open another one. */
export interface StreamBroke {
  type: "StreamBroke";
  why: string;
}

/** The call was handed to another agent, whose it is from now on. */
export interface AgentSwitched {
  type: "AgentSwitched";
  agent: string;
}

/** The agent was muted toward the caller, or is heard again. */
export interface AgentMuted {
  type: "AgentMuted";
  on: boolean;
}

/** A person asked for an operation on the call, which was `done` or `refused`: `what` happened. */
export interface OperatorActed {
  type: "OperatorActed";
  by: string;
  operation: string;
  outcome: "done" | "refused";
  what: string;
}

/** A person listens to the call from here on; `by` is their name. */
export interface ListeningBegan {
  type: "ListeningBegan";
  by: string;
}

/** A person listens no longer, after `after_ms`; `by` is their name. */
export interface ListeningEnded {
  type: "ListeningEnded";
  by: string;
  after_ms: number;
}

/** A person speaks with the caller from here on, and the agent is muted; `by` is their name. */
export interface OperatorTookOver {
  type: "OperatorTookOver";
  by: string;
}

/** The person who spoke with the caller no longer does, `after_ms` they took over. */
export interface OperatorHandedBack {
  type: "OperatorHandedBack";
  by: string;
  note: string;
  after_ms: number;
  why: "asked" | "lost" | "silent" | "call_over" | "process_died";
}

/** A dial or text was refused: `why` is a reason of dial_policy, `to` the destination. */
export interface DialRefused {
  type: "DialRefused";
  kind: "call" | "transfer" | "text" | "fallback" | "busy";
  why: string;
  to: string;
}

/** The caller left a message for the operator's staff. */
export interface MessageTaken {
  type: "MessageTaken";
  from_name: string;
  number: string;
  text: string;
}

/** The other party asked never to be called again. `number` is theirs, in E.164. */
export interface DoNotCall {
  type: "DoNotCall";
  number: string;
}

/** A function of this call blocked every call for `held_ms`, which are over now. */
export interface InterpreterHeld {
  type: "InterpreterHeld";
  tool: string;
  where: string;
  held_ms: number;
}

/** Deepgram sent a Warning, an Error (`fatal`), or refused an injection. */
export interface AgentWarned {
  type: "AgentWarned";
  code: string;
  description: string;
  fatal: boolean;
}

/** Deepgram found the caller frustrated, for the `count`-th time (Think Live). */
export interface CallerFrustrated {
  type: "CallerFrustrated";
  count: number;
  escalated: boolean;
}

/** Deepgram's own account of a turn, in ms; None where it gave none. */
export interface LatencyReported {
  type: "LatencyReported";
  listen_ms: number | null;
  think_ms: number | null;
  speak_ms: number | null;
  total_ms: number | null;
}

/** A leg broke its protocol. The message was counted and ignored. */
export interface ProtocolViolation {
  type: "ProtocolViolation";
  leg: "caller" | "agent";
  what: string;
}

/** Audio on its way *to* this leg was thrown away, because `why`. */
export interface AudioDropped {
  type: "AudioDropped";
  leg: "caller" | "agent";
  ms: number;
  why: "late" | "full" | "muted";
}

/** Twilio reported a stream error (319xx), which is given in words. */
export interface StreamTrouble {
  type: "StreamTrouble";
  code: string;
  words: string;
}

/** Delays that this process added to what it passed on, published just before the call's end. */
export interface DelaysSampled {
  type: "DelaysSampled";
  to_agent: number[];
  to_caller: number[];
  to_clear: number[];
}

/** The call is recorded from here on, into the file of that `name`, whose time begins now. */
export interface RecordingStarted {
  type: "RecordingStarted";
  name: string;
}

/** The recording was paused: it is silent on both sides from now on; its time goes on. */
export interface RecordingPaused {
  type: "RecordingPaused";
}

/** The recording goes on after a pause. */
export interface RecordingResumed {
  type: "RecordingResumed";
}

/** The recording ends with the call; it is `length_ms` long. */
export interface RecordingEnded {
  type: "RecordingEnded";
  length_ms: number;
}

/** The call is not recorded, or no longer, because `why`; what was written can be heard. */
export interface RecordingFailed {
  type: "RecordingFailed";
  why: string;
}

/** The one ending of a call: whose doing (`fault`), a stable `slug`, the same in `words`. */
export interface CallEnded {
  type: "CallEnded";
  fault: string;
  slug: string;
  words: string;
  detail: string;
  duration_ms: number;
}

/** Twilio's report of a call's length, of which it bills begun minutes. */
export interface CallBilled {
  type: "CallBilled";
  status: string;
  duration_ms: number;
}

export type Event =
  | CallBegan
  | LookedUp
  | CallStarted
  | CallTakenOver
  | CallReleased
  | AgentConnected
  | AgentDisconnected
  | AgentRolledOver
  | SpareAgentFailed
  | AgentLost
  | AgentResumed
  | CallerSpeechBegan
  | CallerSaid
  | AgentAnnounced
  | AgentHeard
  | AgentSaid
  | UtteranceRedacted
  | Answered
  | Interrupted
  | InterruptionSuppressed
  | KeyPressed
  | KeysEntered
  | SecretEntered
  | FunctionCalled
  | FunctionAnswered
  | FunctionDropped
  | FunctionFinishedLate
  | AgentTold
  | CallerLeft
  | Dialled
  | TransferFailed
  | CallerBack
  | StreamBroke
  | AgentSwitched
  | AgentMuted
  | OperatorActed
  | ListeningBegan
  | ListeningEnded
  | OperatorTookOver
  | OperatorHandedBack
  | DialRefused
  | MessageTaken
  | DoNotCall
  | InterpreterHeld
  | AgentWarned
  | CallerFrustrated
  | LatencyReported
  | ProtocolViolation
  | AudioDropped
  | StreamTrouble
  | DelaysSampled
  | RecordingStarted
  | RecordingPaused
  | RecordingResumed
  | RecordingEnded
  | RecordingFailed
  | CallEnded
  | CallBilled;
