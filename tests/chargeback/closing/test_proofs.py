"""Proofs as rows."""

from datetime import date

from chargeback.closing.proofs import LaneProof, Proof, ProofTotals, from_entity, to_entity


def test_a_large_proof_is_kept_whole() -> None:
    """A proof of many lanes and gaps comes back from its row as it was."""
    lanes = [
        LaneProof(lane=f"hub.{n}", incarnation="hub", partition=str(n), gaps=[[m * 2, m * 2] for m in range(200)])
        for n in range(100)
    ]
    proof = Proof(day=date(2026, 11, 20), status="broken", revision=3, totals=ProofTotals(), lanes=lanes)
    assert from_entity(to_entity(proof)) == proof
