"""List every fault by its name: a function that takes a good candidate and a folder and returns a broken one."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getdoc
from pathlib import Path

from tests.faults import adapter_faults, prompt_faults, serving_faults, weight_faults
from tests.faults.candidate import BrokenCandidate, GoodCandidate

Fault = Callable[[GoodCandidate, Path], BrokenCandidate]

FAULTS: dict[str, Fault] = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        adapter_faults.adapter_dropped,
        adapter_faults.lora_scale_lost,
        adapter_faults.other_task,
        adapter_faults.stale_run,
        adapter_faults.rslora_as_lora,
        adapter_faults.alpha_pattern_as_lora,
        adapter_faults.lora_untrained,
        adapter_faults.wrong_base,
        adapter_faults.lora_on_wrong_base,
        adapter_faults.merged_after_packing,
        adapter_faults.requantised,
        adapter_faults.q2_k_as_q4_k_m,
        adapter_faults.end_not_learned,
        adapter_faults.grammar_hides_broken_json,
        prompt_faults.template_replaced,
        prompt_faults.template_stripped,
        prompt_faults.generation_prompt_cut,
        prompt_faults.template_trims,
        prompt_faults.system_turn_inserted,
        prompt_faults.default_system_text,
        prompt_faults.add_bos_on,
        prompt_faults.double_bos,
        prompt_faults.end_of_turn_renamed,
        prompt_faults.end_of_turn_normal,
        prompt_faults.tokens_swapped,
        prompt_faults.pre_tokenizer_changed,
        prompt_faults.merges_lost,
        weight_faults.embedding_zeroed,
        weight_faults.layer_zeroed,
        weight_faults.head_permuted,
        weight_faults.embedding_rows_swapped,
        weight_faults.added_token_random,
        weight_faults.output_not_tied,
        weight_faults.nan_in_a_tensor,
        weight_faults.overflow,
        weight_faults.rope_base_changed,
        weight_faults.rope_scaled,
        weight_faults.context_cut,
        weight_faults.norm_epsilon_wrong,
        weight_faults.truncated,
        serving_faults.modelfile_other_stop,
        serving_faults.modelfile_bare_template,
        serving_faults.modelfile_short_context,
        serving_faults.modelfile_samples,
        serving_faults.modelfile_other_file,
    )
}


def about(name: str) -> str:
    """Return what a fault does, in one sentence."""
    return (getdoc(FAULTS[name]) or "").splitlines()[0]
