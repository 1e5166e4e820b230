/**
 * Server-sent events, by `fetch`: unlike EventSource this tells why a stream could not be opened,
 * and needs no list of the names of events. The format is that of the WHATWG's HTML standard,
 * "Server-sent events".
 */

export interface SentEvent {
  id: string;
  name: string;
  data: string;
}

/** A block of a stream must end within this many characters, or it is not one of ours. */
const BLOCK_MAX = 4 * 1024 * 1024;

/** Read events from a response's body until it ends. A block without data gives one with data "". */
export async function* sentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<SentEvent> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
        yield parsed(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
      if (rest.length > BLOCK_MAX) throw new Error("an event of the live stream does not end");
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

function parsed(block: string): SentEvent {
  const event = { id: "", name: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) continue; // a comment, which shows that the connection is alive
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") event.id = value;
    else if (name === "event") event.name = value;
    else if (name === "data") event.data += event.data ? `\n${value}` : value;
  }
  return event;
}
