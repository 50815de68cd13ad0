/** The package, as `openPage` gives it to every page. */
interface Window {
  twinfer: Promise<typeof import("twinfer")>;
}
