"""What the methods' trainings share: settings from a recipe, and the stage of texts without images."""

from dataclasses import replace
from pathlib import Path

from iec_hub.finetuning import escnet_training, ugrie_training
from iec_hub.finetuning.escnet_arguments import RecipeArguments as EscnetRecipe
from iec_hub.finetuning.image_training import chosen_settings, text_stage
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.ugrie_arguments import RecipeArguments as UgrieRecipe


def test_a_run_has_its_recipe_s_settings_and_what_the_recipe_has_in_another_form(tmp_path: Path) -> None:
    recipe = UgrieRecipe(views=2, mixup=0.25, patience=7, cache="somewhere")
    run = chosen_settings(ugrie_training.UgrieRun, recipe, freeze=(), cache=tmp_path)
    usual = ugrie_training.UgrieRun()
    assert run == replace(usual, views=2, mixup=0.25, patience=7, freeze=(), cache=tmp_path)
    recipe = EscnetRecipe(caption_weight=0.125, start_from_probe=False, stages=["classifier"])
    run = chosen_settings(escnet_training.EscnetRun, recipe, freeze=("vision",), cache=None)
    assert (run.caption_weight, run.start_from_probe, run.freeze, run.cache) == (0.125, False, ("vision",), None)


def test_texts_alone_are_trained_on_beside_the_run_which_stays_as_it_is(tmp_path: Path) -> None:
    arguments = EmotionTrainingArguments(output_dir=str(tmp_path), use_cpu=True, max_steps=9, learning_rate=0.5)
    settings = text_stage(arguments, 2.0, 0.125)
    assert settings.output_dir == str(tmp_path / "text") and settings.seed == arguments.seed
    assert (settings.num_train_epochs, settings.max_steps, settings.learning_rate) == (2.0, -1, 0.125)
    assert settings.eval_strategy == settings.save_strategy == "no" and not settings.load_best_model_at_end
    assert (arguments.max_steps, arguments.learning_rate, arguments.output_dir) == (9, 0.5, str(tmp_path))
    assert arguments.eval_strategy == "epoch" and arguments.load_best_model_at_end
