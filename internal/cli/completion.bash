if ! declare -F _get_comp_words_by_ref >/dev/null; then
    __muster_init_completion()
    {
        COMPREPLY=()
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
        cur=${words[cword]} prev=${words[cword-1]}
    }
fi
