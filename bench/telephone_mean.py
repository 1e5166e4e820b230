"""Print the mean spectrum of speech on a telephone line, as the local recogniser counts it.

    python bench/telephone_mean.py

Of every recorded clip, on lines of three levels of noise. TELEPHONE_MEAN in
src/offhook/testing/simulator/speech/sphinx_worker.py is what it printed.
"""

import tempfile
from pathlib import Path

import numpy
import pocketsphinx

from offhook.testing.simulator.speech import clips, mulaw
from offhook.testing.simulator.speech.folding import Folding

NOISE_DBFS = (-70, -60, -50)
SILENCE = 3200


def main() -> None:
    model = Path(pocketsphinx.get_model_path()) / "en-us"
    random = numpy.random.default_rng(5)
    means = []
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        words.write_text("yes Y EH S\n")
        decoder = pocketsphinx.Decoder(
            hmm=str(model / "en-us"), dict=str(words), loglevel="FATAL", lm=None
        )
        decoder.add_keyphrase("yes", "yes")
        decoder.activate_search("yes")
        for name in clips.names():
            samples = mulaw.decode(clips.load(name))
            samples = numpy.concatenate([numpy.zeros(SILENCE), samples, numpy.zeros(SILENCE)])
            for level in NOISE_DBFS:
                noise = random.normal(0, 32768 * 10 ** (level / 20), len(samples))
                decoder.start_utt()
                decoder.process_raw(Folding().feed(mulaw.encode(samples + noise)), True, True)
                means.append([float(part) for part in decoder.get_cmn(False).split(",")])
                decoder.end_utt()
    print(",".join(f"{mean:.1f}" for mean in numpy.mean(means, 0)))


if __name__ == "__main__":
    main()
