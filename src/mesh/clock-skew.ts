/**
 * How far the clocks of two hosts may be apart. Certificates are dated back by as much (`backDateMsMax`), so within it nobody refuses one that was made
 * just now.
 */
export const clockSkewMsMax = 60_000

/** @param aheadMs how far `whose` is ahead of the control plane’s; below 0 behind. Undefined within the tolerance */
export function skewText(whose: string, aheadMs: number): string | undefined {
  if (Math.abs(aheadMs) <= clockSkewMsMax) return undefined
  const seconds = Math.round(Math.abs(aheadMs) / 1000)
  return `${whose} is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} the control plane’s`
}

export const skewHint =
  'set both by NTP (timedatectl): certificates are refused where clocks differ by more than a minute'
