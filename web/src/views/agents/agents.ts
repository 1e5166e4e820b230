/** The agents, as GET /api/v1/agents tells of them. */

export interface AgentSummary {
  name: string;
  /** Empty for Deepgram's tutorial, which has no file. */
  file: string;
  lines: string[];
  places_calls: boolean;
  records: boolean;
  variables: Record<string, string>;
  greeting: string | null;
}

export interface Finding {
  level: "error" | "remark";
  file: string;
  line: number | null;
  column: number | null;
  text: string;
  fix: string;
}

/** A part of a JSON Schema, as far as a form is made of it. */
export interface Schema {
  type?: string;
  description?: string;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  required?: string[];
  default?: unknown;
}

export interface AgentFunction {
  name: string;
  description: string;
  parameters: Schema;
  place: string;
  irreversible: boolean;
  repeatable: boolean;
  process: boolean;
}

export interface AgentDetails {
  agent: AgentSummary;
  text: string;
  is_changed: boolean;
  findings: Finding[];
  functions: AgentFunction[];
}

export interface Trial {
  outcome: string;
  content: string;
  took_ms: number;
  fault: string;
}

export interface Checked {
  errors: number;
  findings: Finding[];
}

export interface Reloaded {
  agents: string[];
  lines: number;
  restart: string[];
}

/** Return the path of an agent's page. */
export function agentLink(name: string): string {
  return `/agents/${encodeURIComponent(name)}`;
}

/** Return how a line is called: the default one has no number. */
export function lineName(line: string): string {
  return line === "default" ? "every other number" : line;
}

/**
 * Return the value that a field's text stands for. What does not fit is sent as it is: the server
 * checks it as it checks what a model writes, and its words say what is wrong.
 */
export function valueOf(text: string, schema: Schema): unknown {
  if (schema.enum) return schema.enum.find((each) => String(each) === text) ?? text;
  if (schema.type === "string") return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
