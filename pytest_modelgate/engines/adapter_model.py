"""
Hold a loaded transformers model and decode with it.

The loop is our own: what ``generation_config.json`` says about sampling and penalties has no influence, and
log-probabilities and margins come from the very logits that chose the token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from pytest_modelgate.engines.adapter_row import Best, Row, best_choices
from pytest_modelgate.errors import EngineError, InputTooLongError
from pytest_modelgate.records import Failure, Generation, Message, Request
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
    end_id: int | None = None

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

    def draft(self, text: str) -> list[int]:
        """Return the tokens of a text as of an answer that ends."""
        try:
            ids = self._ids(text)
        except (TypeError, ValueError):  # no valid Unicode: nothing that the model could say
            return []
        return ids if self.end_id is None else [*ids, self.end_id]

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: Sequence[int],
        choosers: Sequence[Chooser | None] | None = None,
        *,
        keeps_logits: bool = False,
    ) -> list[Row]:
        """
        Decode one batch, token by token; prompts are padded on the left so that all rows grow at the same place.

        ``choosers``: of each row, None for greedily. ``keeps_logits``: whether the rows hold theirs.
        """
        import torch

        choosers = choosers or [None] * len(prompts)
        rows = [
            Row(limit, chooser, logits=[] if keeps_logits else None)
            for limit, chooser in zip(max_tokens, choosers, strict=True)
        ]
        pads = [max(map(len, prompts)) - len(prompt) for prompt in prompts]
        ids = self.tensor([[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)])
        mask = self.tensor([[0] * pad + [1] * len(prompt) for pad, prompt in zip(pads, prompts, strict=True)])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = None
        while any(row.is_open for row in rows):
            logits, cache = self.forward(ids, mask, positions, cache)
            for row, choice in zip(rows, best_choices(logits), strict=True):
                self.extend(row, choice[0])
            ids = self.tensor([row.token_ids[-1:] or [0] for row in rows])
            mask = torch.cat([mask, torch.ones_like(ids)], dim=-1)
            # Rows that are done stay in the batch; the clamp keeps them inside the model's positions.
            positions = (positions[:, -1:] + 1).clamp(max=self.limit - 1)
        return rows

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any, kept: int = 1
    ) -> tuple[torch.Tensor, Any]:
        """
        Run the network on ``ids`` and ``positions`` of shape (rows, columns), behind what ``cache`` holds.

        ``mask``, of shape (rows, slots and columns), is 0 where nothing may be looked at. Returns the logits of the last
        ``kept`` columns, of shape (rows, kept, n_vocab), and the cache, which may be the one that was given.
        """
        import torch

        known = {"position_ids": positions, "logits_to_keep": kept}
        with torch.inference_mode():
            output = self.network(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
                **{name: value for name, value in known.items() if name in self.accepted},
            )
            logits = output.logits[:, -kept:].float()
        cache = getattr(output, "past_key_values", None)
        if cache is None:
            raise EngineError(f"{type(self.network).__name__} keeps no key-value cache: it is not supported")
        return logits, cache

    def extend(self, row: Row, choice: Best, tolerance: float = -1.0) -> None:
        """Give an open row its next token; a choice whose margin is not above ``tolerance`` makes it doubtful instead."""
        if not row.is_open:
            return
        if not choice.is_finite:
            row.is_degenerate = True
            return
        token, logprob, margin = choice.token, choice.logprob, choice.margin
        if row.chooser is not None and not row.chooser.is_plain:
            token, logprob, margin = row.chooser.choose(choice.logits.cpu().numpy())
        if margin <= tolerance:
            row.is_doubtful = True
            return
        if row.chooser is not None and token not in self.stop_ids:
            row.chooser.accept(token)
        if row.logits is not None:
            row.logits.append(choice.logits)
        row.take(token, logprob, margin, is_stop=token in self.stop_ids)

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

    def _ids(self, text: str) -> list[int]:
        """Tokenise rendered text."""
        return token_ids(self.tokenizer, text)

    def tensor(self, rows: list[list[int]]) -> torch.Tensor:
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
