import { defineConfig, loadEnv } from "vite";

/** Address of a running operator's listener, to which `npm run dev` passes requests on. */
const server = loadEnv("", ".", "OFFHOOK_").OFFHOOK_URL ?? "http://127.0.0.1:5001";

// Browsers that have `light-dark()` and nested CSS; older ones get no page that half works.
const browsers = ["chrome123", "firefox121", "safari17.5"];

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../src/offhook/console/static",
    emptyOutDir: true,
    target: browsers,
    cssTarget: browsers,
    // A file that is inlined as a data: address is refused by the page's CSP (default-src 'self').
    assetsInlineLimit: 0,
    // The helper that adds preload links is a script of its own; nothing is inlined in the page.
    modulePreload: { polyfill: false },
    sourcemap: false,
    manifest: "manifest.json",
    // The page has parts of other packages in it, whose licences ask for their texts beside them.
    license: { fileName: "licences.md" },
  },
  server: {
    proxy: {
      "/api": { target: server, changeOrigin: true },
      "/console": { target: server, changeOrigin: true, ws: true },
    },
  },
});
