/**
 * Which words of an utterance were heard, by how long it has been played: an estimate at a usual pace,
 * as src/offhook/call/heard_text.py makes it. The words that count come with the utterance's end.
 */

/** Milliseconds of speech for a letter: 480 bytes of mu-law (heard_text.BYTES_PER_LETTER). */
const MS_PER_LETTER = 60;

const DIGIT = 5;
const CLAUSE = 4;
const SENTENCE = 6;

/** Return how many characters of `text`, which ends behind a word, were heard after `heardMs`. */
export function heardLength(text: string, heardMs: number): number {
  let left = heardMs / MS_PER_LETTER;
  let end = 0;
  for (const found of text.matchAll(/\S+/g)) {
    const spoken = letters(found[0]);
    if (left < spoken / 2) break;
    left -= spoken + pause(found[0]);
    end = found.index + found[0].length;
  }
  return end;
}

function letters(word: string): number {
  let sum = 0;
  for (const char of word) {
    if (/\p{Nd}/u.test(char)) sum += DIGIT;
    else if (/\p{L}/u.test(char)) sum += 1;
  }
  return Math.max(1, sum);
}

function pause(word: string): number {
  const last = word.replace(/["')\]\u201d\u2019]+$/u, "").slice(-1);
  if (".!?".includes(last) && last) return SENTENCE;
  return ",;:".includes(last) && last ? CLAUSE : 0;
}
