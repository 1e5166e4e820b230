// A stream of the console: lines of JSON both ways, on a path that works once (docs/console.md).

/** How a stream ended: by the other side, because it was lost, or it was never opened. */
export type StreamEnd = "ended" | "lost" | "refused";

/** Bytes that may wait to be sent; beyond, audio is left out rather than sent late. */
const MOST_WAITING = 64 * 1024;

export interface StreamReceiver {
  onOpen(): void;
  onMessage(message: Record<string, unknown>): void;
  /** `reason` is what the server said of it, or "". */
  onEnd(end: StreamEnd, reason: string): void;
}

export class StreamSocket {
  private readonly socket: WebSocket;
  private isOver = false;

  constructor(path: string, receiver: StreamReceiver) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(url);
    let opened = false;
    this.socket.onopen = () => {
      opened = true;
      receiver.onOpen();
    };
    this.socket.onmessage = (event: MessageEvent<unknown>) => {
      const message = this.isOver ? null : read(event.data);
      if (message !== null) {
        receiver.onMessage(message);
      }
    };
    this.socket.onclose = (event) => {
      if (!this.isOver) {
        this.isOver = true;
        const end = !opened ? "refused" : event.code === 1000 ? "ended" : "lost";
        receiver.onEnd(end, event.reason);
      }
    };
  }

  /** Send a message. */
  send(message: object): void {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  /** Return whether audio may be sent: not so while the connection is too slow. */
  get hasRoom(): boolean {
    return this.socket.bufferedAmount <= MOST_WAITING;
  }

  /** Close the stream; the receiver hears nothing more. */
  close(): void {
    this.isOver = true;
    this.socket.close(1000);
  }
}

/** Return a message, or null for what is none. */
function read(data: unknown): Record<string, unknown> | null {
  try {
    const message: unknown = JSON.parse(String(data));
    return typeof message === "object" && message !== null
      ? (message as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
