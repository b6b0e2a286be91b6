/** What each shell runs on Tab: it asks `hop3-agent __complete` with the words up to the cursor. */
export const completionScripts = {
  bash: `# bash completion for hop3-agent
_hop3_agent() {
  local words also value rest line="\${COMP_LINE:0:COMP_POINT}"
  # Split at blanks only: bash also breaks words at = and :, which our names hold.
  read -ra words <<< "$line"
  [[ "$line" == *[[:blank:]] ]] && words+=("")
  local typed="\${words[-1]}"
  local prefix=""
  [[ "$typed" == *[:=]* ]] && prefix="\${typed%"\${typed##*[:=]}"}"
  COMPREPLY=()
  {
    IFS= read -r also
    while IFS=$'\\t' read -r value rest; do COMPREPLY+=("\${value#"$prefix"}"); done
  } < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
  case "$also" in
    files) compopt -o default ;;
    directories) compopt -o dirnames ;;
  esac
}
complete -F _hop3_agent hop3-agent
`,
  zsh: `#compdef hop3-agent
# zsh completion for hop3-agent
_hop3_agent() {
  local -a lines offered
  lines=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  local also="\${lines[1]}" line
  for line in "\${(@)lines[2,-1]}"; do
    [[ "$line" == *$'\\t'* ]] && offered+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    [[ -n "$line" && "$line" != *$'\\t'* ]] && offered+=("\${line//:/\\\\:}")
  done
  (( \${#offered} )) && _describe 'hop3-agent' offered
  case "$also" in
    files) _files ;;
    directories) _files -/ ;;
  esac
}
if [[ "$funcstack[1]" == _hop3[_-]agent ]]; then _hop3_agent "$@"; else compdef _hop3_agent hop3-agent; fi
`,
  fish: `# fish completion for hop3-agent
function __hop3_agent_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] __complete $words[2..-1] 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path (commandline -ct)
        case directories
            __fish_complete_directories (commandline -ct)
    end
    printf '%s\\n' $lines[2..-1]
end
complete -c hop3-agent -f -a '(__hop3_agent_complete)'
`,
} as const;
