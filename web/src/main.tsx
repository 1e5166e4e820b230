import "./ui/tokens.css";
import "./ui/ui.css";
import { render } from "preact";
import { resume } from "./session";
import { Shell } from "./shell";
import { applyTheme } from "./theme";

applyTheme();
void resume();
const page = document.getElementById("page");
if (page) {
  page.replaceChildren();
  render(<Shell />, page);
}
