"""From a typed query to exact bounded integers on one hospital's records (see README.md)."""

from hospital_node.plan.compile import CompiledPlan, compile_plan
from hospital_node.plan.execute import execute, probe
from hospital_node.plan.residents import resident_buckets

__all__ = ["CompiledPlan", "compile_plan", "execute", "probe", "resident_buckets"]
