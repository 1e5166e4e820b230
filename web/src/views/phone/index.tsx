import type { JSX } from "preact";
import type { ViewProps } from "../../shell";
import { Empty } from "../../ui";

export default function PhoneView({ param }: ViewProps): JSX.Element {
  return <Empty title="Phone">{param}</Empty>;
}
