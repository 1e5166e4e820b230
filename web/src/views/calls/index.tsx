import type { JSX } from "preact";
import type { ViewProps } from "../../shell";
import { Empty } from "../../ui";

export default function CallsView({ param }: ViewProps): JSX.Element {
  return <Empty title="Calls">{param}</Empty>;
}
