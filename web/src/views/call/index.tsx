import type { JSX } from "preact";
import type { ViewProps } from "../../shell";
import { Empty } from "../../ui";

export default function CallView({ param }: ViewProps): JSX.Element {
  return <Empty title="Call">{param}</Empty>;
}
