"""`[benchmark]`: where and how latency is taken."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from foldpress.benchmark.plan import LatencyPlan, latency_plans, split_providers
from foldpress.tables.fields import Count, Counts, Positive, Share, Table

OptionValue = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, int | float) else given)]


class BenchmarkTable(Table):
    """Every provider at every batch and number of threads; a provider may be a table of its name and options."""

    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ("CPUExecutionProvider",)
    provider_options: dict[str, dict[str, OptionValue]] = Field(default_factory=dict)
    batches: Counts = (1,)
    threads: Counts = (1,)
    processes: Count = 8
    seconds: Positive = 10.0
    half_width: Share | None = None

    @model_validator(mode="before")
    @classmethod
    def _options_beside_names(cls, given: Any) -> Any:
        """`{name = "…", options = {…}}` among the providers becomes a name, and an entry of `provider_options`."""
        if not isinstance(given, dict) or "providers" not in given:
            return given
        names, options = split_providers(given["providers"], given.get("provider_options", {}))
        return {**given, "providers": names, "provider_options": options}

    @model_validator(mode="after")
    def _options_of_providers(self) -> "BenchmarkTable":
        if len(set(self.providers)) < len(self.providers):
            raise ValueError("the same provider twice; a run has one set of options for each")
        if strangers := set(self.provider_options) - set(self.providers):
            raise ValueError(f"provider_options of {', '.join(sorted(strangers))}, which is not among the providers")
        return self

    def first_provider(self) -> dict[str, Any]:
        """The provider that graphs are judged on, as arguments of `open_session`."""
        return {"provider": self.providers[0], "provider_options": self.provider_options.get(self.providers[0], {})}

    def plans(self, seed: int) -> list[LatencyPlan]:
        """The whole grid; the first cell is where precisions are compared."""
        return latency_plans(self.providers, self.batches, self.threads, self.provider_options, processes=self.processes,
                             seconds=self.seconds, seed=seed, half_width=self.half_width)  # fmt: skip
