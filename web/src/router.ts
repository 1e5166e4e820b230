/**
 * The address bar: which view is shown, and its filters.
 *
 * Links are plain `<a href>`: a click on one to a path of the console changes the view without
 * loading the page again. `navigate` does the same from code, `setQuery` changes filters.
 */
import { signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
}

function here(): Place {
  return { path: window.location.pathname, query: new URLSearchParams(window.location.search) };
}

/** The address now. Reading `place.value` in a component draws it again after a change. */
export const place = signal<Place>(here());

/** Show the view of `href`, a path of the console with its query. */
export function navigate(href: string, how: { replace?: boolean } = {}): void {
  const current = window.location.pathname + window.location.search;
  if (href !== current) {
    if (how.replace) history.replaceState(null, "", href);
    else history.pushState(null, "", href);
  }
  place.value = here();
}

/** Change some parameters of the query; an empty value or null removes one. No new history entry. */
export function setQuery(changes: Record<string, string | null>): void {
  const query = new URLSearchParams(place.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(place.value.path + (text ? `?${text}` : ""), { replace: true });
}

/** Paths of the operator's listener that are not the console's: the browser loads them itself. */
const OTHERS = ["/api/", "/docs", "/metrics", "/openapi.json"];

function onClick(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href, window.location.href);
  if (url.origin !== window.location.origin) return;
  if (OTHERS.some((other) => url.pathname.startsWith(other))) return;
  if (url.pathname === window.location.pathname && url.hash) return; // the skip link
  event.preventDefault();
  navigate(url.pathname + url.search);
}

/** Follow the browser's buttons and clicks on links. Called once, by the shell. */
export function startRouter(): () => void {
  const onPop = () => {
    place.value = here();
  };
  window.addEventListener("popstate", onPop);
  document.addEventListener("click", onClick);
  return () => {
    window.removeEventListener("popstate", onPop);
    document.removeEventListener("click", onClick);
  };
}
