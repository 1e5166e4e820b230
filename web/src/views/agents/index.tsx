import type { JSX } from "preact";
import type { ViewProps } from "../../shell";
import { Empty } from "../../ui";

export default function AgentsView({ param }: ViewProps): JSX.Element {
  return <Empty title="Agents">{param}</Empty>;
}
