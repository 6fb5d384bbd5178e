"""Functions that only kernels call, compiled no further than what a kernel needs of them.

numba compiles each function that a kernel calls as if it were called by itself: it links what the
function calls, optimises all of that and makes machine code of it, at every level of the nest. A
kernel takes none of these: it links the functions once more, optimises the whole, and makes its own
machine code. So here a function stops at LLVM's intermediate representation, and what it calls is
linked where the kernel is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import (
    DumpParforDiagnostics,
    InlineOverloads,
    NativeLowering,
    NopythonRewrites,
)
from numba.core.untyped_passes import (
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    WithLifting,
)

_UNUSED = {
    DumpParforDiagnostics,
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    InlineOverloads,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    NopythonRewrites,
    WithLifting,
}
"""numba's passes for what no function here has: closures, comprehensions, expressions of arrays,
literals by request."""


class HelperLibrary(JITCodeLibrary):
    """The code of one helper: not linked, not optimised as a whole, without machine code."""

    def finalize(self) -> None:
        """Take nothing more in."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True

    def linked(self) -> Iterator[Any]:
        """The library by itself, and all that it calls."""
        yield _Alone(self)
        for library in self._linking_libraries:
            yield from library.linked() if isinstance(library, HelperLibrary) else (library,)

    def _get_module_for_linking(self) -> Any:
        """With all that it calls, for functions that numba compiles in its own way."""
        if self._whole is None:
            self._whole = self.alone().clone()
            for library in set(self.linked()) - {_Alone(self)}:
                self._whole.link_in(library._get_module_for_linking(), preserve=True)
        return self._whole

    _whole: Any = None

    def alone(self) -> Any:
        """Without what it calls."""
        return super()._get_module_for_linking()


@dataclass(frozen=True, slots=True)
class _Alone:
    """What a kernel links of a helper: nothing that the helper calls."""

    library: HelperLibrary

    @property
    def _reload_init(self) -> Any:
        return self.library._reload_init

    def _ensure_finalized(self) -> None:
        self.library._ensure_finalized()

    def _get_module_for_linking(self) -> Any:
        return self.library.alone()


class KernelLibrary(JITCodeLibrary):
    """The code of a kernel, and of all that it calls."""

    def add_linking_library(self, library: Any) -> None:
        """Link a library, and all that helpers in it call."""
        found = library.linked() if isinstance(library, HelperLibrary) else (library,)
        for each in found:
            super().add_linking_library(each)

    def _optimize_final_module(self) -> None:
        """Once: numba does twice, to find counts of references that cancel out."""
        passes, builder = self._codegen._module_pass_manager()
        with self._recorded_timings.record("Module passes", builder):
            passes.run(self._final_module, builder)


class KernelCompiler(Compiler):
    """numba's pipeline, into a :class:`KernelLibrary`."""

    library_class: type[JITCodeLibrary] = KernelLibrary

    def define_pipelines(self) -> Any:
        """Numba's passes; the library is there before the first."""
        state = self.state
        state.library = self.library_class(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [each for each in pipeline.passes if each[0] not in _UNUSED]
        return pipelines


class HelperCompiler(KernelCompiler):
    """The pipeline that ends with LLVM's intermediate representation."""

    library_class = HelperLibrary

    def define_pipelines(self) -> Any:
        """Numba's passes, but for the last."""
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (_HelperLowering if each is NativeLowering else each, text)
                for each, text in pipeline.passes
            ]
        return pipelines


class UnaliasedCompiler(HelperCompiler):
    """As :class:`HelperCompiler`; what the function writes through one array no other one sees."""

    def define_pipelines(self) -> Any:
        """Numba's passes, with a word to LLVM about the arguments."""
        self.state.flags.noalias = True
        return super().define_pipelines()


@register_pass(mutates_CFG=True, analysis_only=False)
class _HelperLowering(NativeLowering):
    _name = "helper_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower, and let kernels find what is there."""
        state.flags.no_compile = True
        super().run_pass(state)
        result = state["cr"]
        # What numba knows the function by; calling it from Python is impossible.
        name = result.fndesc.qualname
        key = _dynfunc.make_function(result.fndesc.lookup_module(), name, "", 0, result.env, ())
        state["cr"] = result._replace(cfunc=key)
        state.targetctx.insert_user_function(key, result.fndesc, [state.library])
        return True
