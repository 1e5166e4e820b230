/** How an event changes the list of live calls. */
import type { LiveCall, LiveEvent } from "./live";

type Calls = ReadonlyMap<string, LiveCall>;
type Change = Partial<LiveCall>;

/** Return the live calls after an event, or null where they stay as they are. `now`: ms since 1970. */
export function after(calls: Calls, event: LiveEvent, now: number): Calls | null {
  const call = calls.get(event.callSid);
  if (event.type === "CallEnded") {
    if (!call) return null;
    const left = new Map(calls);
    left.delete(event.callSid);
    return left;
  }
  const change = event.type === "CallBegan" && !call ? begun(event, now) : call && changed(call, event);
  if (!change) return null;
  return new Map(calls).set(event.callSid, { ...(call as LiveCall), ...change });
}

function begun(event: LiveEvent & { type: "CallBegan" }, now: number): LiveCall {
  return {
    call_sid: event.callSid,
    agent: event.agent,
    tier: event.tier,
    direction: event.direction,
    by: event.by,
    from: event.from_,
    to: event.to,
    began_ms: now - event.atMs,
    speaking: "nobody",
    last_words: null,
    turn_ms: null,
    turns: 0,
    interruptions: 0,
    functions: 0,
    trouble: null,
    agent_state: "dialling",
    caller_state: "ringing",
    taken_by: null,
    listeners: [],
  };
}

function changed(call: LiveCall, event: LiveEvent): Change | null {
  switch (event.type) {
    case "CallStarted":
    case "CallerBack":
      return { caller_state: "connected", trouble: null };
    case "AgentConnected":
    case "AgentResumed":
      return { agent_state: "connected", trouble: null };
    case "CallerSaid":
      return { last_words: { who: "caller", text: event.text }, turns: call.turns + 1, speaking: "nobody" };
    case "AgentAnnounced":
      return { last_words: { who: "agent", text: event.text }, speaking: "agent" };
    case "AgentSaid":
      return { speaking: call.speaking === "agent" ? "nobody" : call.speaking };
    case "Answered":
      return { turn_ms: event.first_played_ms };
    case "Interrupted":
      return { interruptions: call.interruptions + 1, speaking: "caller" };
    case "FunctionCalled":
      return { functions: call.functions + 1 };
    case "AgentLost":
      return { agent_state: "lost", trouble: "the agent was lost; another one is dialled" };
    case "StreamBroke":
      return { caller_state: "lost", trouble: "the caller's stream broke off" };
    case "CallerLeft":
      return { caller_state: event.errand === "transfer" ? "put through" : "away" };
    case "AgentSwitched":
      return { agent: event.agent };
    default:
      return null;
  }
}
