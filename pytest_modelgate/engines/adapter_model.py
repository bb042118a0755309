"""
Hold a loaded transformers model and decode with it.

The loop is our own: what ``generation_config.json`` says about sampling and penalties has no influence, and
log-probabilities and margins come from the very logits that chose the token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from pytest_modelgate.errors import EngineError, InputTooLongError
from pytest_modelgate.records import Failure, FinishReason, Generation, Message, Request
from pytest_modelgate.truncation import fit_request

if TYPE_CHECKING:
    import torch

    from pytest_modelgate.engines.sampling import Chooser

__all__ = ["LoadedModel", "Prompt", "Row", "first_line", "rendered", "token_ids"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Hold a prompt's token ids, and by how many tokens its input was shortened."""

    ids: Sequence[int]
    input_tokens_dropped: int = 0


@dataclass(slots=True)
class Row:
    """
    Hold one case's answer while it grows; ``finish_reason`` is None until it is complete.

    ``chooser``: chooses its tokens, None for greedily.
    """

    max_tokens: int
    chooser: Chooser | None = None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    is_degenerate: bool = False
    ttft_s: float = 0.0
    total_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Say whether a further token is wanted."""
        return self.finish_reason is None and not self.is_degenerate

    def take(self, token: int, logprob: float, margin: float, elapsed_s: float, *, is_stop: bool) -> None:
        """Append a token and see whether it is the last."""
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.margins.append(margin)
        self.total_s = elapsed_s
        if len(self.token_ids) == 1:
            self.ttft_s = elapsed_s
        if is_stop:
            self.finish_reason = "stop"
        elif len(self.token_ids) == self.max_tokens:
            self.finish_reason = "length"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Hold a loaded network and its tokenizer, and what decoding needs to know of them."""

    network: Any
    tokenizer: Any
    device: str
    n_ctx: int
    max_positions: int | None
    n_vocab: int
    stop_ids: frozenset[int]
    accepted: frozenset[str]

    @property
    def limit(self) -> int:
        """Return how many tokens prompt and answer may have together."""
        return self.n_ctx if self.max_positions is None else min(self.n_ctx, self.max_positions)

    def encode(self, request: Request) -> Prompt | Failure:
        """Return the prompt, its input made to fit its task's rule, or why the request cannot be run."""
        try:
            if request.prompt_ids is None:
                messages, dropped = fit_request(request, lambda text: len(self._ids(text)))
                prompt = Prompt(self.tokenise(messages), dropped)
            else:
                prompt = Prompt(request.prompt_ids)
        except InputTooLongError as error:
            return Failure("refused", str(error))
        except (TemplateError, TypeError, ValueError) as error:
            # TypeError: text that is not valid Unicode, or a template that trips over a message.
            return Failure("refused", f"the messages cannot be rendered and tokenised: {first_line(error)}")
        reason = self._refusal(prompt.ids, request.max_tokens)
        return prompt if reason is None else Failure("refused", reason)

    def tokenise(self, messages: Sequence[Message]) -> list[int]:
        """Render messages with the chat template and tokenise the text as it stands: it holds its own BOS."""
        return self._ids(rendered(self.tokenizer, messages))

    def probe(self, text: str, steps: int) -> list[int]:
        """Return a prompt that leaves room for some steps, whatever the template demands and the context allows."""
        try:
            ids = self.tokenise([Message("user", text)])
        except (TemplateError, TypeError, ValueError):
            ids = self._ids(text)
        return ids[-max(self.limit - steps, 1) :]

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: Sequence[int],
        choosers: Sequence[Chooser | None] | None = None,
    ) -> list[Row]:
        """
        Decode one batch; prompts are padded on the left so that all rows grow at the same place.

        ``choosers``: of each row, None for greedily.
        """
        import torch

        started = time.perf_counter()
        choosers = choosers or [None] * len(prompts)
        rows = [Row(limit, chooser) for limit, chooser in zip(max_tokens, choosers, strict=True)]
        pads = [max(map(len, prompts)) - len(prompt) for prompt in prompts]
        ids = self._tensor([[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)])
        mask = self._tensor([[0] * pad + [1] * len(prompt) for pad, prompt in zip(pads, prompts, strict=True)])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = None
        with torch.inference_mode():
            while any(row.is_open for row in rows):
                known = {"position_ids": positions, "logits_to_keep": 1}
                output = self.network(
                    input_ids=ids,
                    attention_mask=mask,
                    past_key_values=cache,
                    use_cache=True,
                    **{name: value for name, value in known.items() if name in self.accepted},
                )
                cache = getattr(output, "past_key_values", None)
                if cache is None:
                    raise EngineError(f"{type(self.network).__name__} keeps no key-value cache: it is not supported")
                ids = self._extend(rows, output.logits[:, -1].float(), started)
                mask = torch.cat([mask, torch.ones_like(ids)], dim=-1)
                # Rows that are done stay in the batch; the clamp keeps them inside the model's positions.
                positions = (positions[:, -1:] + 1).clamp(max=self.limit - 1)
        return rows

    def result(self, prompt: Prompt, row: Row) -> Generation | Failure:
        """Turn a finished row into what is reported."""
        if row.finish_reason is None:
            return Failure(
                "refused",
                f"the model's logits are not finite after {len(row.token_ids)} tokens: "
                f"its weights are damaged, or too large for this dtype",
            )
        shown = row.token_ids[:-1] if row.finish_reason == "stop" else row.token_ids
        text = self._text(shown)
        ends = [len(self._text(shown[: number + 1])) for number in range(len(shown))]
        return Generation(
            text=text,
            finish_reason=row.finish_reason,
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            margins=tuple(row.margins),
            ends=(*ends, *([len(text)] if row.finish_reason == "stop" else [])),
            prompt_tokens=len(prompt.ids),
            output_tokens=len(row.token_ids),
            ttft_s=row.ttft_s,
            total_s=row.total_s,
            input_tokens_dropped=prompt.input_tokens_dropped,
        )

    def _text(self, ids: Sequence[int]) -> str:
        """Return what tokens say; a special token inside an answer is shown, as by the GGUF engine: a fault to be seen."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _refusal(self, ids: Sequence[int], max_tokens: int) -> str | None:
        """Say why a prompt cannot be run, None if it can."""
        if not ids:
            return "the prompt is empty"
        if not 0 <= min(ids) <= max(ids) < self.n_vocab:
            return f"the prompt's token ids go beyond the model's vocabulary of {self.n_vocab}"
        if max_tokens < 1:
            return f"max_tokens must be at least 1, got {max_tokens}"
        if len(ids) + max_tokens <= self.limit:
            return None
        too_long = f"prompt is {len(ids)} tokens and max_tokens {max_tokens}, together more than"
        if self.limit < self.n_ctx:
            return f"{too_long} the model's {self.limit} positions: shorten the case"
        return f"{too_long} n_ctx {self.n_ctx}: raise n_ctx or shorten the case"

    def _extend(self, rows: Sequence[Row], logits: torch.Tensor, started: float) -> torch.Tensor:
        """Append each open row's next token, greedily the best, and return the tokens as the next input."""
        chosen = logits.argmax(-1, keepdim=True)
        best, second = logits.topk(2).values.unbind(-1)
        numbers = zip(
            chosen[:, 0].tolist(),
            (best - logits.logsumexp(-1)).tolist(),
            (best - second).tolist(),
            best.isfinite().tolist(),
            strict=True,
        )
        elapsed_s = time.perf_counter() - started
        for place, (row, (token, logprob, margin, is_finite)) in enumerate(zip(rows, numbers, strict=True)):
            if row.is_open and is_finite and row.chooser is not None:
                choice = row.chooser.choose(logits[place].cpu().numpy())
                row.chooser.accept(choice.token)
                row.take(*choice, elapsed_s, is_stop=choice.token in self.stop_ids)
                chosen[place] = choice.token
            elif row.is_open and is_finite:
                row.take(token, logprob, margin, elapsed_s, is_stop=token in self.stop_ids)
            elif row.is_open:
                row.is_degenerate = True
        return chosen

    def _ids(self, text: str) -> list[int]:
        """Tokenise rendered text."""
        return token_ids(self.tokenizer, text)

    def _tensor(self, rows: list[list[int]]) -> torch.Tensor:
        """Put equally long rows on the device."""
        import torch

        return torch.tensor(rows, dtype=torch.long, device=self.device)


def rendered(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
    """Return messages as the tokenizer's chat template writes them; what it raises is the template's own."""
    text: str = tokenizer.apply_chat_template(
        [asdict(message) for message in messages], tokenize=False, add_generation_prompt=add_generation_prompt
    )
    return text


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of a text as it stands, special tokens in it recognised, nothing added."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def first_line(error: Exception) -> str:
    """Return an error's message as one line of text that can be encoded."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0].encode("utf-8", "backslashreplace").decode("utf-8")
