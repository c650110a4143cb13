/**
 * What nothing in production uses: exports and members of `src` whose name stands nowhere else in what ships or is run (`src`, `demo`,
 * `bench`, `scripts`) but in tests. Found by name, so that a name that two things have hides the dead one; what is found is dead.
 */

/** A test, or what only tests import. */
const testFile = /(\.(test|fuzz|fixture|corpus)\.ts|fixtures\.ts)$/

const exportPattern =
  /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|const|let|interface|type|enum)\s+([\w$]+)/gm
const valuePattern = /^export\s+(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|const|let)\s+([\w$]+)/gm
/** At the depth of a class or an interface. Upper case is a code of a protocol, which is listed whole; what overrides is called by what it extends. */
const memberPattern = /^ {2}(?:(?:static|async|get|set|readonly|protected|abstract) )*\*?([a-z]\w*)(?:[(<?:!]| =)/gm
const wordPattern = /[A-Za-z_$][\w$]*/g

/**
 * @param sources text by path from the repository's root: everything, tests too
 * @returns `file: name`, in the order of the files
 */
export function deadExports(sources: ReadonlyMap<string, string>): string[] {
  const production = [...sources]
    .filter(([file]) => !testFile.test(file))
    .map(([file, text]) => [file, code(text)] as const)
  const uses = new Map<string, number>()
  for (const [, text] of production)
    for (const [word] of text.matchAll(wordPattern)) uses.set(word, (uses.get(word) ?? 0) + 1)
  const dead: string[] = []
  for (const [file, text] of production) {
    if (!file.startsWith('src/')) continue
    for (const pattern of [exportPattern, memberPattern])
      for (const [, name = ''] of text.matchAll(pattern)) if (uses.get(name) === 1) dead.push(`${file}: ${name}`)
  }
  return dead
}

/** The text without comments, where a name is no use of it. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^\S\n])\/\/.*$/gm, '')
}

/**
 * What is exported and imported by no other file, tests among them: functions, classes and constants. A type may be exported for its readers.
 *
 * @param sources as for `deadExports`
 * @returns `file: name`, in the order of the files
 */
export function needlessExports(sources: ReadonlyMap<string, string>): string[] {
  const imported = new Set<string>()
  for (const [, text] of sources) {
    for (const [, names = ''] of text.matchAll(/(?:import|export)\s+(?:type\s+)?\{([^}]*)\}\s+from/g)) add(names)
    for (const [, names = ''] of text.matchAll(/\{([^{}]*)\}[^\n]*\bimport\(/g)) add(names)
    // Of a module that was imported as a whole.
    for (const [, name = ''] of text.matchAll(/(?:\b\w+|\))\.(\w+)/g)) imported.add(name)
  }
  const needless: string[] = []
  for (const [file, text] of sources) {
    if (!file.startsWith('src/') || testFile.test(file)) continue
    for (const [, name = ''] of code(text).matchAll(valuePattern))
      if (!imported.has(name)) needless.push(`${file}: ${name}`)
  }
  return needless

  function add(names: string): void {
    for (const [, name = ''] of names.matchAll(/(?:^|,)\s*(?:type\s+)?(\w+)/g)) imported.add(name)
  }
}
