/**
 * Requests to the operator's API. Every failure is a Problem: what happened, and how to go on.
 *
 *     const page = await get<CallPage>("/calls", { agent: "reception", limit: 50 });
 *     const done = await post<Done>(`/calls/${sid}/say`, { text });
 */
import { signal } from "@preact/signals";

export const PREFIX = "/api/v1";

/** A request that failed, in the words of the API's problem details (RFC 9457). */
export class Problem extends Error {
  constructor(
    /** What happened, and why. */
    readonly what: string,
    /** The one step that goes on from here. */
    readonly fix: string,
    /** Code of docs/errors.md; empty when the server did not answer. */
    readonly code: string,
    /** HTTP status; 0 when the server did not answer. */
    readonly status: number,
  ) {
    super(what);
  }
}

/** Return any error as a Problem. A fault of the page's own is told as one. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const what = error instanceof Error ? error.message : String(error);
  return new Problem(`The page has a fault: ${what}.`, "Load the page again.", "", -1);
}

/** Token that a cookie's session must send with each request that changes something. */
export const csrf = signal("");

/** Called when the server says that nobody is signed in; session.ts sets it. */
let onSignedOut: () => void = () => {};
export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
}

export type Params = Record<string, string | number | boolean | null | undefined>;

/** Return the address of a path of the API, with those parameters that have a value. */
export function address(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return PREFIX + path + (text ? `?${text}` : "");
}

/** Return the answer to a GET. */
export function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return request<T>("GET", address(path, params), undefined, signal);
}

/** Return the answer to a POST with a JSON body. */
export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return request<T>("POST", address(path), body);
}

/** Return the answer to a PUT with a JSON body. */
export function put<T>(path: string, body: unknown): Promise<T> {
  return request<T>("PUT", address(path), body);
}

/** Return the answer to a DELETE. */
export function remove<T>(path: string): Promise<T> {
  return request<T>("DELETE", address(path));
}

async function request<T>(
  method: string,
  url: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const response = await open(method, url, body, signal);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T; // the shapes are those of /docs; the server is our own
}

/** Return the response to a request that succeeded; raises Problem for any other. */
export async function open(
  method: string,
  url: string,
  body?: unknown,
  signal?: AbortSignal,
  headers: Record<string, string> = {},
): Promise<Response> {
  const sent: Record<string, string> = { ...headers };
  if (method !== "GET") sent["X-Offhook-CSRF"] = csrf.value;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers: sent,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(
      "The server does not answer.",
      "See if `offhook serve` runs, and if this machine reaches it; then try again.",
      "",
      0,
    );
  }
  if (response.ok) return response;
  const problem = await told(response);
  if (response.status === 401 && !url.endsWith("/session")) onSignedOut();
  throw problem;
}

async function told(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as { detail?: unknown; fix?: unknown; code?: unknown };
    if (typeof body.detail === "string") {
      return new Problem(body.detail, text(body.fix), text(body.code), response.status);
    }
  } catch {
    // Not JSON: a proxy answered in the server's place.
  }
  return new Problem(
    `The server answered ${response.status} ${response.statusText}`.trim() + ", without saying why.",
    "If a proxy is before the server, see its log; else see the server's.",
    "",
    response.status,
  );
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
