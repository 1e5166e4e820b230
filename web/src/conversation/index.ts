/** What is said in a live call, and how it is shown. */
export { type Followed, followConversation } from "./follow";
export { LatencyStrip } from "./latency";
export { Transcript } from "./transcript";
