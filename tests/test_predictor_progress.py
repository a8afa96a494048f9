"""What a predictor tells before it is done, and predictors that share a model in several threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from iec_hub.affect.reasoning import Reasoning
from iec_hub.prediction import Progress, ReasoningStep
from iec_hub.predictor import EmotionPredictor

PICTURES = sorted((Path(__file__).parent / "fixtures" / "coco_cc_by").glob("*.jpg"))[:3]


@pytest.fixture(scope="module", params=["ugrie", "escnet", "aciec"])
def predictor(request: pytest.FixtureRequest) -> EmotionPredictor:
    return EmotionPredictor.from_pretrained(method=request.param, device="cpu")


def test_stages_come_in_order_and_agree_with_the_prediction(predictor: EmotionPredictor) -> None:
    told: dict[int, list[Progress]] = {}
    found = predictor.predict(
        PICTURES[:2],
        evidence=True,
        batch_size=1,
        progress=lambda index, known: told.setdefault(index, []).append(known),
    )
    stages = {"ugrie": ["decided"], "escnet": ["described", "decided"], "aciec": ["described", "decided"]}
    expected = (["read"] if predictor.reads_embedded_text else []) + stages[predictor.method]
    assert {index: [known.stage for known in each] for index, each in told.items()} == dict.fromkeys(
        range(2), expected
    )
    for index, prediction in enumerate(found):
        for known in told[index]:
            assert all(getattr(prediction, name) == value for name, value in known.fields.items())
        decided = told[index][-1].prediction
        assert decided.probabilities == pytest.approx(prediction.probabilities, abs=1e-12)
        assert decided.evidence is None or decided.evidence.regions is None
        assert (decided.captions, decided.reasoning) == (prediction.captions, prediction.reasoning)
    quiet = predictor.predict(PICTURES[1:2])
    assert quiet[0].summary() == found[1].summary()


def test_a_reasoner_tells_of_each_step() -> None:
    class Reasoner:
        name, reports_steps = "two steps", True

        def reason(self, images, embedded_texts=None, progress=None):
            steps = (ReasoningStep("scene", "a beach", "calm"), ReasoningStep("object", "a kite", "joy"))
            for length in (1, 2) if progress else ():
                for index in range(len(images)):
                    progress(index, Reasoning(steps[:length], (), self.name))
            return [Reasoning(steps, ("It is calm.",), self.name) for _ in images]

    predictor = EmotionPredictor.from_pretrained(method="aciec", device="cpu")
    predictor.model.use_reasoner(Reasoner())
    told = []
    predictor.predict(PICTURES[:1], read_text=False, progress=lambda _, known: told.append(known))
    described = [known.fields for known in told if known.stage == "described"]
    assert [len(fields["reasoning"]) for fields in described] == [1, 2, 2]
    assert described[0]["concepts"] == described[-1]["concepts"] and described[-1]["captions"] == ("It is calm.",)


def test_twins_in_several_threads_say_what_one_says_alone(predictor: EmotionPredictor) -> None:
    evidence = predictor.method != "aciec"  # whose words take long
    asked = {"evidence": evidence, "read_text": False}
    alone = [predictor.predict([file], **asked)[0] for file in PICTURES]
    twins = [predictor.twin() for _ in range(2)]
    assert all(twin.model is predictor.model and twin.processor is not predictor.processor for twin in twins)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(twins[n % 2].predict, [PICTURES[n % 3]], **asked) for n in range(8)]
        for number, job in enumerate(jobs):
            (found,), wanted = job.result(), alone[number % 3]
            np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-5)
            if evidence:
                np.testing.assert_allclose(found.evidence.regions, wanted.evidence.regions, atol=1e-3)
