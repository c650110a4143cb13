/** The proof of a record as files: of the block that has it, and of a later one that says what became of it. */
import { writeFileSync } from 'node:fs'
import type { BlockProof, RecordProof } from '../../audit/sealed/proof.ts'

/** What was written, and what is not proven, in words. */
export function writeProof(name: string, proof: RecordProof): string[] {
  const { outcome } = proof
  const words = [`block ${proof.index}: ${written(name, proof)}`]
  if (outcome === 'here') return words
  if (outcome instanceof Error) return [...words, `only what was intended is proven: ${outcome.message}`]
  return [...words, `what became of it is in block ${outcome.index}: ${written(`${name}.outcome`, outcome)}`]
}

function written(name: string, { text, frames }: BlockProof): string {
  writeFileSync(`${name}.tlog-proof`, text)
  writeFileSync(`${name}.block`, frames)
  return `${name}.tlog-proof, ${name}.block`
}
