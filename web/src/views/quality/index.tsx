import type { JSX } from "preact";
import type { ViewProps } from "../../shell";
import { Empty } from "../../ui";

export default function QualityView({ param }: ViewProps): JSX.Element {
  return <Empty title="Quality">{param}</Empty>;
}
