# Says which release and process answers, after the ?ms=N it was asked for.
read -r release < ../RELEASE
ms=${QUERY_STRING#ms=}
sleep "$(printf '%d.%03d' $((${ms:-0} / 1000)) $((${ms:-0} % 1000)))"
printf 'Content-Type: text/plain\r\n\r\nhello from release=%s pid=%s\n' "$release" "$PPID"
