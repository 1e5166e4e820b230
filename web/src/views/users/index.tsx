import type { JSX } from "preact";
import type { ViewProps } from "../../shell";
import { Empty } from "../../ui";

export default function UsersView({ param }: ViewProps): JSX.Element {
  return <Empty title="Users">{param}</Empty>;
}
