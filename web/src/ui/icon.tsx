import type { JSX } from "preact";

const PATHS = {
  live: "M4 12h3l2.500-7 5 14 2.500-7h3",
  phone:
    "M6 3.500h3l1.500 4.500-2 1.500a12 12 0 0 0 6 6l1.500-2 4.500 1.500v3a2 2 0 0 1-2.200 2A17 17 0 0 1 4 5.700a2 2 0 0 1 2-2.200z",
  calls: "M5 6h14M5 12h14M5 18h9",
  quality: "M5 20V11M10.500 20V4M16 20v-6M21 20H3",
  agents: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.500 20.500a7.500 7.500 0 0 1 15 0",
  users: "M9 12a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM3 20a6 6 0 0 1 12 0M16 5.500a3.500 3.500 0 0 1 0 6.500M17.500 14.500a6 6 0 0 1 3.500 5.500",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  ear: "M4 13v4a2 2 0 0 0 2 2h1.500v-7H6a2 2 0 0 0-2 2zm0 0a8 8 0 0 1 16 0m0 0v4a2 2 0 0 1-2 2h-1.500v-7H18a2 2 0 0 1 2 2z",
  mic: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3",
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  hangup: "M3 15c5-6 13-6 18 0l-2.500 3-4-1.500v-3a9 9 0 0 0-5 0v3l-4 1.500z",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside words; screen readers pass over it. */
export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg
      viewBox="0 0 24 24"
      width="20"
      height="20"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
