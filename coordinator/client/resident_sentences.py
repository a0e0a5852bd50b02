"""What is said of a count of residents, (Chinese, English) by message id."""

RESIDENTS: dict[str, tuple[str, str]] = {
    "measure.residents": ("居民人数", "residents"),
    "measure.residents_where": ("满足条件的居民人数", "residents, filtered"),
    "part.residents": ("已填桶数", "filled buckets"),
    "who.one_resident": ("一位居民，所有医院与区块合计", "a resident, at all hospitals and in all blocks together"),
    "answer.residents_note": (
        "居民数由已填桶数估计；区间为 95 %，含双方噪声与散列的随机性，不含限界、漏报迟报；没有有效身份证号者在每家医院各计一次。",
        "estimated; intervals are 95 % for all noise and the hashing alone; without a resident number one counts at each hospital.",
    ),
    "preview.residents_title": (
        "居民数的误差（每个单元格，视实有人数而定）",
        "error of the residents, per cell, by how many there are",
    ),
    "preview.residents": ("若实有", "if there are"),
    "preview.without_residents": (
        "不按居民计数、将拒绝的医院：{names}",
        "hospitals that do not count residents and will refuse: {names}",
    ),
    "preview.all_residents": ("各医院均允许对此表按居民计数", "every hospital permits residents to be counted over this table"),
}
