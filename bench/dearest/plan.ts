/** What `--dearest` measures. */
export interface DearestPlan {
  /** Of each input. */
  readonly runs: number
  /** That strangers are at the control plane. */
  readonly floodSeconds: number
  /** Rows whose names have this in them; undefined for all. */
  readonly only: string | undefined
  /** The sidecar whose loop is measured writes a CPU profile there when it ends. */
  readonly profileDirectory: string | undefined
}

export function wants({ only }: DearestPlan, row: string): boolean {
  return only === undefined || row.toLowerCase().includes(only.toLowerCase())
}
