/** The console's components. web/README.md shows how each is used. */
export { ActionButton, Button } from "./button";
export { Dialog } from "./dialog";
export { Check, Field, Select, TextArea, TextField } from "./field";
export { Icon } from "./icon";
export { Level } from "./level";
export { useLoad } from "./load";
export { Badge, Empty, ErrorBox, Facts, Loading, Panel, Stat, Stats } from "./parts";
export { useShortcut } from "./shortcuts";
export { Table } from "./table";
export { Tabs } from "./tabs";
export { Ago, Duration, now } from "./time";
export { toast, toastProblem } from "./toast";
