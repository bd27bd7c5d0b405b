/** Completion for shells, made from the commands and their options. */
import type { Command, Option } from "commander";
import { Argument } from "commander";
import { print } from "./messages.ts";

const SHELLS = { bash, zsh, fish };

export function addCompletion(program: Command): void {
  program
    .command("completion")
    .summary("print completion for bash, zsh or fish")
    .description("Print a script that completes commands and options in your shell.")
    .usage("SHELL")
    .addArgument(new Argument("<shell>").choices(Object.keys(SHELLS)))
    .addHelpText("after", COMPLETION_HELP)
    .action((shell: keyof typeof SHELLS) => print(SHELLS[shell](program).trimEnd()));
}

const COMPLETION_HELP = `
Examples:
  bash  echo 'eval "$(holdfast completion bash)"' >> ~/.bashrc
  zsh   holdfast completion zsh > "\${fpath[1]}/_holdfast"
  fish  holdfast completion fish > ~/.config/fish/completions/holdfast.fish`;

function visible({ options }: Command): Option[] {
  return options.filter(({ hidden, long }) => !hidden && long);
}

/** One line, and nothing that a shell would read as its own between single quotes. */
function words(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replaceAll("'", "")
    .replace(/[[\]:]/g, "");
}

function bash(program: Command): string {
  const cases = program.commands.map((command) => {
    const options = visible(command);
    const values = options.flatMap(({ long, required, argChoices }) => {
      if (!required) return [];
      return [`${long}) ${argChoices ? `${reply(argChoices.join(" "))}; ` : ""}return ;;`];
    });
    const valued = values.length > 0 ? [`case $previous in`, ...values.map((each) => `  ${each}`), "esac"] : [];
    const names = choicesOf(command) ?? options.map(({ long }) => long).join(" ");
    return [`${command.name()})`, ...[...valued, reply(names), ";;"].map((line) => `  ${line}`)];
  });
  return `_holdfast() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} i
  COMPREPLY=()
  for ((i = 2; i < COMP_CWORD; i++)); do
    if [ "\${COMP_WORDS[i]}" = -- ]; then
      if declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); else COMPREPLY=($(compgen -c -f -- "$current")); fi
      return
    fi
  done
  if [ "$COMP_CWORD" -eq 1 ]; then
    ${reply([...program.commands.map((command) => command.name()), "help"].join(" "))}
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.map((lines) => lines.map((line) => `    ${line}`).join("\n")).join("\n")}
    help) ${reply(program.commands.map((command) => command.name()).join(" "))} ;;
  esac
}
complete -F _holdfast holdfast
`;
}

function reply(choices: string): string {
  return `COMPREPLY=($(compgen -W "${choices}" -- "$current"))`;
}

/** The allowed values of the command's argument, if they are known. */
function choicesOf(command: Command): string | undefined {
  return command.registeredArguments[0]?.argChoices?.join(" ");
}

function zsh(program: Command): string {
  const describe = (commands: readonly Command[]): string =>
    commands.map((command) => `'${command.name()}:${words(command.summary())}'`).join(" ");
  const cases = program.commands.map((command) => {
    const options = visible(command).map(({ long, required, description, argChoices }) => {
      const value = required ? `:value:${argChoices ? `(${argChoices.join(" ")})` : ""}` : "";
      return `'*${long}[${words(description)}]${value}'`;
    });
    const choices = choicesOf(command);
    const [argument] = command.registeredArguments;
    const offered = choices ? `'1:${argument?.name()}:(${choices})'` : "'*:name:'";
    return `    ${command.name()}) _arguments ${[...options, offered].join(" ")} ;;`;
  });
  return `#compdef holdfast
_holdfast() {
  local -a commands
  commands=(${describe(program.commands)})
  local dashes=\${words[(i)--]}
  if (( dashes < CURRENT )); then
    shift $dashes words
    (( CURRENT -= dashes ))
    _normal
    return
  fi
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT -= 1 ))
  case $command in
${cases.join("\n")}
    help) _describe command commands ;;
  esac
}
if [ "$funcstack[1]" = _holdfast ]; then _holdfast "$@"; else compdef _holdfast holdfast; fi
`;
}

function fish(program: Command): string {
  const lines = program.commands.flatMap((command) => {
    const of = `-n '__fish_seen_subcommand_from ${command.name()}'`;
    const options = visible(command).map(({ long, required, description, argChoices }) => {
      const value = !required ? "" : argChoices ? ` -x -a '${argChoices.join(" ")}'` : " -x";
      return `complete -c holdfast ${of} -l ${long?.slice(2)}${value} -d '${words(description)}'`;
    });
    const choices = choicesOf(command);
    return [
      `complete -c holdfast -f -n __fish_use_subcommand -a ${command.name()} -d '${words(command.summary())}'`,
      ...options,
      ...(choices ? [`complete -c holdfast -f ${of} -a '${choices}'`] : []),
    ];
  });
  return `${lines.join("\n")}\n`;
}
