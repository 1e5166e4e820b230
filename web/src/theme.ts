/** Light or dark: the system's choice until the user makes one, which this browser keeps. */
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "offhook.theme";

function kept(): Theme {
  const value = safely(() => localStorage.getItem(KEY));
  return value === "light" || value === "dark" ? value : "system";
}

/** Return what `read` gives, or null where the browser refuses storage. */
function safely<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

export const theme = signal<Theme>(kept());

/** Show the page in the chosen theme. */
export function applyTheme(): void {
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = theme.value;
}

/** Choose a theme, and keep the choice in this browser. */
export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  safely(() => localStorage.setItem(KEY, chosen));
  applyTheme();
}
